//! What members send, by the second: steadily, and in the seconds after a loss.
//!
//! Owns the counting. A datagram counts with its seal and 28 bytes of IP and UDP headers; probes are not gossip and do not
//! count.

use crate::faults::{Planned, SETTLE};
use crate::scenario::What;
use crate::units::{Nanos, SECOND};

/// IPv4 and UDP.
pub(crate) const HEADERS: u64 = 28;
/// What belongs to a loss.
const AFTER_LOSS: Nanos = 10 * SECOND;
/// After a fault the members are still busy with it.
const AFTER_FAULT: Nanos = 30 * SECOND;

/// Bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// Of all members, on average.
    pub mean: u64,
    /// Of the member that sends most.
    pub most: u64,
}

#[derive(Debug)]
pub(crate) struct Bytes {
    /// Begin and end of every fault.
    faults: Vec<(Nanos, Nanos)>,
    losses: Vec<Nanos>,
    second: Vec<u64>,
    steady: Vec<u64>,
    steady_seconds: u64,
    after: Vec<Vec<u64>>,
}

impl Bytes {
    pub(crate) fn new(members: usize, faults: &[Planned]) -> Self {
        let loss = |f: &&Planned| matches!(f.fault.what, What::Down | What::Cut | What::Crash | What::Split);
        let losses: Vec<Nanos> = faults.iter().filter(loss).map(|f| f.begins).collect();
        let zero = vec![0; members];
        Self {
            faults: faults.iter().map(|f| (f.begins, f.ends)).collect(),
            after: vec![zero.clone(); losses.len()],
            losses,
            second: zero.clone(),
            steady: zero,
            steady_seconds: 0,
        }
    }

    pub(crate) fn sent(&mut self, by: usize, bytes: usize) {
        self.second[by] += bytes as u64 + HEADERS;
    }

    /// The second before `now` is over.
    pub(crate) fn turn(&mut self, now: Nanos) {
        let add = |sums: &mut Vec<u64>, of: &[u64]| sums.iter_mut().zip(of).for_each(|(sum, n)| *sum += n);
        for (at, sums) in self.losses.iter().zip(&mut self.after) {
            if now > *at && now <= at + AFTER_LOSS {
                add(sums, &self.second);
            }
        }
        let busy = |(from, to): &(Nanos, Nanos)| now + SECOND > *from && now <= to + AFTER_FAULT;
        if now > SETTLE && !self.faults.iter().any(busy) {
            add(&mut self.steady, &self.second);
            self.steady_seconds += 1;
        }
        self.second.fill(0);
    }

    /// In the seconds that nothing disturbs; none where there are none.
    pub(crate) fn steady(&self) -> Option<Pace> {
        pace(&self.steady, self.steady_seconds)
    }

    /// In the 10 s after the worst loss.
    pub(crate) fn after_loss(&self) -> Option<Pace> {
        self.after.iter().filter_map(|sums| pace(sums, AFTER_LOSS / SECOND)).max_by_key(|p| p.most)
    }
}

fn pace(sums: &[u64], seconds: u64) -> Option<Pace> {
    let most = sums.iter().max()?.checked_div(seconds)?;
    Some(Pace { mean: sums.iter().sum::<u64>() / seconds / sums.len() as u64, most })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_by_member_and_second() {
        let mut bytes = Bytes::new(2, &[]);
        assert_eq!(bytes.steady(), None);
        bytes.sent(0, 72);
        bytes.turn(SETTLE);
        for second in 1..=4 {
            bytes.sent(0, 72);
            bytes.sent(1, 172);
            bytes.turn(SETTLE + second * SECOND);
        }
        assert_eq!(bytes.steady(), Some(Pace { mean: 150, most: 200 }), "the start does not count");
        assert_eq!(bytes.after_loss(), None);
    }

    #[test]
    fn a_loss_has_ten_seconds_and_is_not_steady() {
        let mut bytes = Bytes::new(1, &[]);
        (bytes.losses, bytes.after, bytes.faults) =
            (vec![40 * SECOND], vec![vec![0]], vec![(40 * SECOND, 50 * SECOND)]);
        for second in 1..=100 {
            bytes.sent(0, if (42..=45).contains(&second) { 972 } else { 72 });
            bytes.turn(second * SECOND);
        }
        assert_eq!(bytes.after_loss(), Some(Pace { mean: 460, most: 460 }), "4 of 1,000 and 6 of 100: {bytes:?}");
        assert_eq!(bytes.steady(), Some(Pace { mean: 100, most: 100 }));
    }
}
