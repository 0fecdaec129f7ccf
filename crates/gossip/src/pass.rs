//! Who is told a vantage's report: every server, by the vantage itself and by two probers that pass it on once.
//!
//! Owns that choice and the datagrams. Reports are not spread as membership is: only servers use them, and a report that
//! every member passes on fifteen times costs thirty times what the membership does (decision 0063). A direct way that
//! is lost or cut costs nothing as long as one of the two, drawn anew each time, reaches the server.

use crate::identity::{Id, Role, WireCodec};
use crate::node::{Effect, Node, Wants};
use foca::{Codec, Header, Message};
use rand::RngExt;
use tidegate_domain::Mono;

/// Probers that pass a report on.
const PASSERS: usize = 2;
/// Servers that are told at the most: far above any cell.
const SERVERS_MAX: usize = 16;

impl Node {
    /// Says an own report to every server and to two probers.
    pub(crate) fn hand_out(&mut self, data: &[u8], now: Mono, effects: &mut Vec<Effect>) {
        let mut to = self.servers();
        let mut probers = self.others(Role::Prober);
        for _ in 0..PASSERS.min(probers.len()) {
            let one = self.rng_mut().random_range(0..probers.len());
            to.push(probers.swap_remove(one));
        }
        self.tell(&to, data, now, effects);
    }

    /// Passes on, to every server, what its own vantage has just said here.
    pub(crate) fn pass_on(&mut self, data: &[u8], now: Mono, effects: &mut Vec<Effect>) {
        let to = self.servers();
        self.tell(&to, data, now, effects);
    }

    fn servers(&self) -> Vec<Id> {
        let mut all = self.others(Role::Observer);
        all.truncate(SERVERS_MAX);
        all
    }

    fn others(&self, role: Role) -> Vec<Id> {
        let of = self.foca().iter_members().map(foca::Member::id).filter(|id| id.role == role && !id.name.is_empty());
        let mut all: Vec<Id> = of.cloned().collect();
        // foca's own order follows from chance: what is drawn from it must not.
        all.sort_by(|a, b| (&a.name, a.addr).cmp(&(&b.name, b.addr)));
        all
    }

    /// A broadcast as foca writes it: a header, then each item behind its length.
    fn tell(&mut self, to: &[Id], data: &[u8], now: Mono, effects: &mut Vec<Effect>) {
        let Ok(length) = u16::try_from(data.len()) else { return };
        let mut wants = Wants::default();
        for dst in to {
            // foca does not tell its own incarnation; the lowest one changes nothing at the receiver.
            let src = self.foca().identity().clone();
            let header = Header { src, src_incarnation: 0, dst: dst.clone(), message: Message::Broadcast };
            let mut payload = Vec::with_capacity(128 + data.len());
            if WireCodec.encode_header(&header, &mut payload).is_ok() {
                payload.extend(length.to_be_bytes());
                payload.extend_from_slice(data);
                wants.sends.push((dst.addr, payload));
            }
        }
        self.settle(wants, now, effects);
    }
}
