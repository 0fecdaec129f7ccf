//! What a node counts.
//!
//! Owns the numbers and what they are called in metrics; refuses to know how they are shown.

use crate::seal::DropReason;

/// Everything that is counted; all only rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Datagrams sent and their bytes, without IP and UDP headers.
    pub sent: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// Bytes of them before they were sealed: content, and 10 for sender and receiver.
    pub payload_bytes: u64,
    /// Datagrams taken.
    pub received: u64,
    dropped: [u64; DropReason::ALL.len()],
    /// Updates that name by hash a member of whom this node has not heard.
    pub updates_unknown: u64,
    /// Times that the others had called this node down and it came back under a new generation.
    pub rejoins: u64,
    /// Suspicions that this node began, for its own probe of a member was answered by nobody.
    pub suspicions: u64,
    /// Of these, those that stood to their end with the suspect not reached by TCP either.
    pub confirmed: u64,
    /// Members that were called down, by this node or by others.
    pub downs: u64,
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
    /// Reports of other vantages that were passed on to the servers.
    pub passed: u64,
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

/// Counters of one name, for metrics: the same in every program that has a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Family {
    /// Name without the prefix `tidegate_`.
    pub name: &'static str,
    /// What is counted.
    pub help: &'static str,
    /// The label that tells the series apart; none when there is one series only.
    pub label: Option<&'static str>,
    /// Value of the label, if there is one, and the count.
    pub series: Vec<(Option<&'static str>, u64)>,
}

impl Counters {
    /// Everything, by families.
    #[must_use]
    pub fn families(&self) -> Vec<Family> {
        let one = |name, help, count| Family { name, help, label: None, series: vec![(None, count)] };
        let many = |name, help, label, series: &[(&'static str, u64)]| {
            let series = series.iter().map(|(value, count)| (Some(*value), *count)).collect();
            Family { name, help, label: Some(label), series }
        };
        let dropped = DropReason::ALL.map(|reason| (reason.as_str(), self.dropped(reason)));
        let datagrams = [("sent", self.sent), ("received", self.received)];
        let suspicions = [
            ("started", self.suspicions),
            ("refuted", self.refuted),
            ("confirmed", self.confirmed),
            ("asked", self.confirms),
            ("held_in_doubt", self.held_in_doubt),
            ("held_reached", self.held_reached),
        ];
        let keyrings = [("taken", self.keyrings_taken), ("refused", self.keyrings_refused)];
        let reports = [
            ("taken", self.reports),
            ("passed_on", self.passed),
            ("unresolved", self.digests_unresolved),
            ("other_format", self.reports_other_format),
            ("malformed", self.reports_malformed),
        ];
        vec![
            many("gossip_datagrams_total", "Datagrams by direction.", "direction", &datagrams),
            one("gossip_sent_bytes_total", "Bytes of datagrams sent, without headers of UDP and IP.", self.sent_bytes),
            one("gossip_payload_bytes_total", "Bytes of datagrams sent, before sealing.", self.payload_bytes),
            many("gossip_dropped_total", "Datagrams dropped by reason.", "reason", &dropped),
            one("gossip_updates_unknown_total", "Updates on members that are not known here.", self.updates_unknown),
            one("gossip_rejoins_total", "Times it was called down and came back.", self.rejoins),
            one("gossip_members_down_total", "Members that were called down.", self.downs),
            one("gossip_stalls_total", "Times its loop was over 150 ms late.", self.stalls),
            many("gossip_suspicions_total", "What became of its own suspicions.", "event", &suspicions),
            many("gossip_reports_total", "Vantage reports by outcome.", "outcome", &reports),
            many("gossip_keyrings_total", "Changed keyring files by outcome.", "outcome", &keyrings),
        ]
    }
}
