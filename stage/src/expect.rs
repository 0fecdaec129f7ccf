//! What must hold in every story, as sentences over its row. Owns the demo's invariants; refuses gates of speed: those
//! are the bench's, with targets of their own.

use crate::shape::StoryRow;

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
    zero(m.forbidden_requests, "requests reached a place where their class may not be");
    zero(m.double_posts, "POSTs were executed twice");
    let failed = m.failed_get + m.failed_post;
    match row.name.as_str() {
        // Weights alone move here: nobody may notice.
        "operator-drain" | "recovery" | "forbidden-cheapest" => {
            zero(failed, "requests failed while only weights moved");
            zero(m.over_limit_ms, "ms with a region over its limit");
        }
        "all-down" => zero(failed, "requests failed though every backend was well"),
        "machine-stall" => zero(m.failed_post, "POSTs failed in a pause that hit everything alike"),
        "capacity-cascade" => {
            zero(m.over_limit_ms, "ms with a survivor over its limit");
            if m.shed == 0 {
                out.push(
                    "nothing was shed though the survivors could not hold all: the test proves nothing".to_owned(),
                );
            }
        }
        "two-providers" => zero(m.over_limit_ms, "ms with the survivor over its limit"),
        _ => {}
    }
    if row.name == "forbidden-cheapest" && m.control_forbidden_requests == Some(0) {
        out.push("the control run reached nothing forbidden: the counter is not to be trusted".to_owned());
    }
    if m.requests == 0 {
        out.push("no request was sent: nothing was measured".to_owned());
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

    #[test]
    fn each_invariant_can_break() {
        let good = Measures { requests: 10, ..Measures::default() };
        assert!(broken(&row("operator-drain", good.clone())).is_empty());
        let cases = [
            ("provider-refused", Measures { forbidden_requests: 1, ..good.clone() }),
            ("provider-refused", Measures { double_posts: 1, ..good.clone() }),
            ("provider-refused", Measures::default()),
            ("operator-drain", Measures { failed_get: 1, ..good.clone() }),
            ("all-down", Measures { failed_post: 1, ..good.clone() }),
            ("capacity-cascade", good.clone()),
            ("two-providers", Measures { over_limit_ms: 1000, ..good.clone() }),
            ("forbidden-cheapest", Measures { control_forbidden_requests: Some(0), ..good }),
        ];
        for (name, measures) in cases {
            assert_eq!(broken(&row(name, measures.clone())).len(), 1, "{name} {measures:?}");
        }
    }
}
