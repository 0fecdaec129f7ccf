//! Safety rules: what is absent keeps the domain's default.

use super::text::unit;
use crate::fault::{Sink, Src};
use crate::raw::{At, DurationText, Raw, RulesSpec, ShareText};
use crate::units;
use tidegate_domain::{Bps, FreezeWindow, Millis, Rules};

pub(super) fn lower(raw: &Raw, sink: &mut Sink) -> Rules {
    let mut rules = Rules::default();
    for doc in raw.rules.iter().skip(1) {
        let what = format!("a fleet has one set of rules; `{}` is another", doc.name.value);
        sink.error(&doc.src, doc.name.line, "name", what, "merge the two documents");
    }
    if let Some(doc) = raw.rules.first() {
        apply(&doc.spec, &doc.src, &mut rules, sink);
    }
    rules
}

fn apply(spec: &RulesSpec, src: &Src, rules: &mut Rules, sink: &mut Sink) {
    if let Some(at) = &spec.min_regions_on {
        rules.min_regions_on = at.value;
        if at.value == 0 {
            let what = "with 0 a rule could leave a class nowhere";
            sink.error(src, at.line, "spec.minRegionsOn", what, "write 1 or more");
        }
    }
    let mut time = |text: &Option<At<DurationText>>, into: &mut Millis, key: &str, zero: bool| {
        if let Some(text) = text {
            *into = unit(text, units::duration, src, key, sink);
            if !zero && units::duration(&text.value.0) == Ok(Millis(0)) {
                sink.error(src, text.line, key, "a time of 0 disables the rule", "write a time above 0");
            }
        }
    };
    time(&spec.settle, &mut rules.settle, "spec.settle", false);
    time(&spec.min_residency, &mut rules.min_residency, "spec.minResidency", false);
    time(&spec.report_fresh, &mut rules.report_fresh, "spec.reportFresh", false);
    time(&spec.doubt_window, &mut rules.doubt_window, "spec.doubtWindow", false);
    time(&spec.unknown_alarm, &mut rules.unknown_alarm, "spec.unknownAlarm", false);
    time(&spec.up_after, &mut rules.up_after, "spec.upAfter", true);
    let mut share = |text: &Option<At<ShareText>>, into: &mut Bps, key: &str, zero: bool| {
        if let Some(text) = text {
            *into = unit(text, units::share, src, key, sink);
            if !zero && units::share(&text.value.0) == Ok(Bps::ZERO) {
                sink.error(src, text.line, key, "with 0 % nothing could ever move", "write a share above 0 %");
            }
        }
    };
    share(&spec.share_cap, &mut rules.share_cap, "spec.shareCap", false);
    share(&spec.economic_margin, &mut rules.economic_margin, "spec.economicMargin", true);
    for (i, window) in spec.freeze.iter().enumerate() {
        let key = format!("spec.freeze[{i}]");
        let from = unit(&window.from, units::moment, src, &format!("{key}.from"), sink);
        let until = unit(&window.until, units::moment, src, &format!("{key}.until"), sink);
        let read = units::moment(&window.from.value.0).is_ok() && units::moment(&window.until.value.0).is_ok();
        if read && until <= from {
            let what = "the window ends before it begins";
            sink.error(src, window.until.line, &format!("{key}.until"), what, "exchange `from` and `until`");
        }
        if window.reason.value.trim().is_empty() {
            let what = "a freeze needs a reason";
            sink.error(src, window.reason.line, &format!("{key}.reason"), what, "say why nothing may move");
        }
        rules.freeze.push(FreezeWindow { from, until, reason: window.reason.value.clone() });
    }
    rules.freeze.sort_by(|a, b| (a.from, a.until, &a.reason).cmp(&(b.from, b.until, &b.reason)));
}
