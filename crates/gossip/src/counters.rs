//! What a node counts.
//!
//! Owns the numbers; refuses to know where they are shown.

use crate::seal::DropReason;

/// Everything that is counted; all only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Datagrams sent and their bytes, without IP and UDP headers.
    pub sent: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// Datagrams taken.
    pub received: u64,
    dropped: [u64; DropReason::ALL.len()],
    /// Times that the others had called this node down and it came back under a new generation.
    pub rejoins: u64,
    /// Refuted suspicions whose timer was withheld from foca.
    pub refuted: u64,
    /// Times that this node was over 150 ms late and set its timers back.
    pub stalls: u64,
    /// Times that a suspicion was held back for 500 ms because this node doubted itself.
    pub held_in_doubt: u64,
    /// Suspects that were asked directly, by TCP.
    pub confirms: u64,
    /// Times that a suspicion was held back for 500 ms because the suspect was reached by TCP.
    pub held_reached: u64,
    /// Keyrings taken while running.
    pub keyrings_taken: u64,
    /// Keyring files that were refused while running; the keys before them stand.
    pub keyrings_refused: u64,
    /// Reports handed out.
    pub reports: u64,
    /// Digests of states that were not held here.
    pub digests_unresolved: u64,
    /// Broadcasts of another version of the report's format.
    pub reports_other_format: u64,
    /// Broadcasts that were no report.
    pub reports_malformed: u64,
}
impl Counters {
    /// Datagrams dropped for this reason.
    #[must_use]
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }
    /// Counts a drop; the shell calls it for what only it can see.
    pub(crate) fn drop_one(&mut self, reason: DropReason) {
        self.dropped[reason as usize] += 1;
    }
}
