//! What must hold in every story, as sentences over its row. Owns the demo's invariants; refuses gates of speed: those
//! are the bench's, with targets of their own.

use crate::shape::{ProxyCount, StoryRow};

/// Failed and not shed when two of three providers die, in thousandths of what was sent in the 10 s after.
const TWO_PROVIDERS: u64 = 10;
/// Failed while the server and a provider are dead, in thousandths.
const SERVER_AND_PROVIDER: u64 = 20;
/// Arrivals that the load generator itself could not send in time, in thousandths: more, and nothing was measured.
const LEFT_OUT: u64 = 10;
/// By when a place that ails begins to lose its weight.
const FALLS_MS: i64 = 10_000;
/// GETs that may fail because of it, in thousandths.
const AILING_GET: u64 = 1;

/// What did not hold in `row`.
pub(crate) fn broken(row: &StoryRow) -> Vec<String> {
    let m = &row.measures;
    let mut out = Vec::new();
    if row.skipped.is_some() {
        return out;
    }
    let mut zero = |value: u64, what: &str| {
        if value > 0 {
            out.push(format!("{value} {what}"));
        }
    };
    // The player's own wait for these is no proof: they must stand in what the server said.
    zero(
        u64::from(row.is_outage() && m.fault_to_verdict_ms.is_none()),
        "verdict of the server is not in its own words",
    );
    zero(u64::from(row.is_outage() && m.fault_to_all_acked_ms.is_none()), "acknowledgement of all is not on record");
    zero(m.forbidden_requests, "requests reached a place where their class may not be");
    zero(m.double_posts, "POSTs were executed twice");
    let failed = m.failed_get + m.failed_post;
    if row.name != "all-down" {
        // From the moment when new weights stand; in an all-down the old ones do, whatever they weigh.
        zero(m.over_limit_ms, "ms with a region over its limit by our weights");
    }
    if !matches!(row.name.as_str(), "capacity-cascade" | "two-providers" | "control-plane-death") {
        zero(m.shed, "requests were shed though there was room for all");
    }
    match row.name.as_str() {
        // Weights alone move here: nobody may notice.
        "operator-drain" | "recovery" | "forbidden-cheapest" => {
            zero(failed, "requests failed while only weights moved");
            zero(m.failed_in_flight, "requests under way failed while only weights moved");
            zero(m.reached_drained, "requests reached a drained place after it was said to be empty");
            zero(m.idle_forbidden_s, "seconds in which Belgium served nothing of its own class");
        }
        "all-down" => zero(failed, "requests failed though every backend was well"),
        "machine-stall" => {
            zero(failed, "requests failed that were due after a pause that hit everything alike");
            zero(m.endpoints_not_back, "endpoints carry nothing any more after the pause");
        }
        "capacity-cascade" => {
            zero(m.shed_high, "requests of the highest class were shed");
            zero(m.failed_high_get, "GETs of the highest class failed");
            zero(m.failed_high_after_ack, "requests of the highest class failed after all had acknowledged");
            if m.shed == 0 {
                out.push(
                    "nothing was shed though the survivors could not hold all: the test proves nothing".to_owned(),
                );
            }
        }
        "two-providers" => {
            zero(m.shed_high, "requests of the highest class were shed");
            zero(m.failed_high_get, "GETs of the highest class failed");
            zero(m.failed_high_after_ack, "requests of the highest class failed after all had acknowledged");
        }
        "control-plane-death" => {
            zero(m.empty_or_older, "empty or older responses were sent by the server that came back");
        }
        _ => {}
    }
    if row.name == "forbidden-cheapest" && m.control_forbidden_requests.unwrap_or(0) == 0 {
        out.push("the control run reached nothing forbidden: the counter is not to be trusted".to_owned());
    }
    out.extend(ailing(row));
    out.extend(shares(row));
    if m.requests == 0 {
        out.push("no request was sent: nothing was measured".to_owned());
    }
    out
}

/// What must be so of a place that ails behind a well health path.
fn ailing(row: &StoryRow) -> Vec<String> {
    let named = matches!(row.name.as_str(), "gray" | "shallow-check");
    let Some(a) = row.measures.ailing.as_ref() else {
        return if named { vec!["no place ailed: nothing was measured".to_owned()] } else { Vec::new() };
    };
    let mut out = Vec::new();
    match a.weight_falls_ms {
        None => out.push(format!("the weight of {} did not fall", a.place)),
        Some(ms) if ms > FALLS_MS => out.push(format!("the weight of {} fell after {ms} ms, not in 10 s", a.place)),
        Some(_) => {}
    }
    if a.weight_gone_ms.is_none() {
        out.push(format!("{} was never without weight", a.place));
    }
    if a.reached_after_15s > 0 {
        out.push(format!("{} requests reached {} later than 15 s after the fault", a.reached_after_15s, a.place));
    }
    if a.errors_there == 0 {
        out.push(format!("{} answered no error: the fault was none", a.place));
    }
    if a.back_after_repair_ms.is_none() {
        out.push(format!("{} did not get its weight back", a.place));
    }
    if a.falls_after_repair > 0 {
        out.push(format!("the weight of {} fell {} times after the repair: it flaps", a.place, a.falls_after_repair));
    }
    out
}

/// Shares that are too large.
fn shares(row: &StoryRow) -> Vec<String> {
    let m = &row.measures;
    let mut out = Vec::new();
    let mut share = |failed: u64, of: u64, thousandths: u64, what: &str| {
        if failed * 1000 > of * thousandths {
            let (whole, tenths) = (thousandths / 10, thousandths % 10);
            out.push(format!("{failed} of {of} requests failed {what}: more than {whole}.{tenths} %"));
        }
    };
    let part = |of: &Option<ProxyCount>| of.as_ref().map_or((0, 0), |c| (c.failed, c.requests));
    match row.name.as_str() {
        "two-providers" => share(m.failed_10s, m.requests_10s, TWO_PROVIDERS, "within 10 s"),
        "control-plane-death" => {
            let ((alone, of_alone), (both, of_both)) = (part(&m.server_dead_alone), part(&m.server_dead_and_fault));
            share(alone, of_alone, 0, "while only the server was dead");
            share(both, of_both, SERVER_AND_PROVIDER, "with the server and a provider dead");
        }
        _ => {}
    }
    if let Some(a) = &m.ailing {
        share(a.failed_get, a.get, AILING_GET, "as GETs, until the ailing place was empty and 30 s after");
    }
    // A pause of everything pauses the generator too.
    if row.name != "machine-stall" {
        share(m.left_out, m.requests + m.left_out, LEFT_OUT, "to be sent in time, so that the run is void");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Measures;

    fn row(name: &str, measures: Measures) -> StoryRow {
        StoryRow { name: name.into(), measures, anchor: None, skipped: None, broken: Vec::new() }
    }

    fn lost(failed: u64, requests: u64) -> Option<ProxyCount> {
        Some(ProxyCount { requests, failed, shed: 0, ..ProxyCount::default() })
    }

    #[test]
    fn each_invariant_can_break() {
        let (seen, acked) = (Some(1_000), Some(1_100));
        let good =
            Measures { requests: 10, fault_to_verdict_ms: seen, fault_to_all_acked_ms: acked, ..Measures::default() };
        assert!(broken(&row("operator-drain", good.clone())).is_empty());
        let cases = [
            ("provider-refused", Measures { forbidden_requests: 1, ..good.clone() }),
            ("provider-refused", Measures { double_posts: 1, ..good.clone() }),
            ("provider-refused", Measures { requests: 0, ..good.clone() }),
            ("provider-refused", Measures { fault_to_verdict_ms: None, ..good.clone() }),
            ("two-providers", Measures { fault_to_all_acked_ms: None, ..good.clone() }),
            ("operator-drain", Measures { failed_get: 1, ..good.clone() }),
            ("all-down", Measures { failed_post: 1, ..good.clone() }),
            ("capacity-cascade", good.clone()),
            ("two-providers", Measures { over_limit_ms: 1000, ..good.clone() }),
            ("two-providers", Measures { failed_10s: 11, requests_10s: 1000, ..good.clone() }),
            ("two-providers", Measures { failed_high_get: 1, ..good.clone() }),
            ("provider-hung", Measures { over_limit_ms: 1000, ..good.clone() }),
            ("provider-hung", Measures { shed: 1, ..good.clone() }),
            ("operator-drain", Measures { reached_drained: 1, ..good.clone() }),
            ("operator-drain", Measures { failed_in_flight: 1, ..good.clone() }),
            ("control-plane-death", Measures { empty_or_older: 1, ..good.clone() }),
            ("capacity-cascade", Measures { shed: 1, failed_high_after_ack: 1, ..good.clone() }),
            ("two-providers", Measures { failed_high_after_ack: 1, ..good.clone() }),
            ("capacity-cascade", Measures { shed: 1, shed_high: 1, ..good.clone() }),
            ("capacity-cascade", Measures { shed: 1, failed_high_get: 1, ..good.clone() }),
            ("control-plane-death", Measures { server_dead_alone: lost(1, 1000), ..good.clone() }),
            ("control-plane-death", Measures { server_dead_and_fault: lost(21, 1000), ..good.clone() }),
            ("machine-stall", Measures { endpoints_not_back: 1, ..good.clone() }),
            ("machine-stall", Measures { failed_get: 1, ..good.clone() }),
            ("recovery", Measures { left_out: 1, ..good.clone() }),
            ("forbidden-cheapest", good.clone()),
            ("forbidden-cheapest", Measures { control_forbidden_requests: Some(0), ..good }),
        ];
        for (name, measures) in cases {
            assert_eq!(broken(&row(name, measures.clone())).len(), 1, "{name} {measures:?}");
        }
    }
}
