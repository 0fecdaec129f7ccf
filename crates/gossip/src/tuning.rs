//! How foca is set.
//!
//! Owns its lengths and counts, the same for every member; refuses what follows from a member's own way, see `probing`.

use crate::probing::ASK_FLOOR;
use crate::seal::{MAX_DATAGRAM, OVERHEAD};
use foca::PeriodicParams;
use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;
use tidegate_domain::Millis;

pub(crate) const PROBE_PERIOD: Millis = Millis(500);
const SUSPECT_TO_DOWN: Duration = Duration::from_secs(2);
pub(crate) const GOSSIP_EVERY: Duration = Duration::from_millis(100);
const ANNOUNCE_DOWN_EVERY: Duration = Duration::from_secs(5);
/// Total sendings of one update, not rounds: foca's own choice of 6 for 32 members leaves some untold for 30 s.
const MAX_TRANSMISSIONS: u8 = 15;
const FANOUT: usize = 3;
/// A down member is remembered this long. Longer splits are healed by the seeds.
const REMEMBER_DOWN: Duration = Duration::from_secs(3600);

/// foca's own settings.
pub(crate) fn foca_config() -> foca::Config {
    let some = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
    let every = |frequency, n| Some(PeriodicParams { frequency, num_members: some(n) });
    foca::Config {
        probe_period: Duration::from_millis(PROBE_PERIOD.0),
        // foca knows one for all members; how long each has is `probing`'s affair.
        probe_rtt: Duration::from_millis(ASK_FLOOR.0),
        num_indirect_probes: some(FANOUT),
        max_transmissions: NonZeroU8::new(MAX_TRANSMISSIONS).unwrap_or(NonZeroU8::MIN),
        suspect_to_down_after: SUSPECT_TO_DOWN,
        remove_down_after: Some(REMEMBER_DOWN),
        max_packet_size: some(MAX_DATAGRAM - OVERHEAD),
        notify_down_members: true,
        periodic_announce: every(Duration::from_secs(30), 1),
        periodic_announce_to_down_members: every(ANNOUNCE_DOWN_EVERY, 2),
        periodic_gossip: every(GOSSIP_EVERY, FANOUT),
    }
}
