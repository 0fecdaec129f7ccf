//! Why is it so: a service, a region, a decision, or an error code.

use crate::args::Output;
use crate::client::Client;
use crate::failure::Failure;
use crate::reads::{print_votes, verdict_table};
use crate::show;
use crate::ui::out;
use crate::ui::{age, percent, state, table, when};
use serde::Serialize;
use tidegate_api::{Code, DecisionDetail, Explanation, PlaceLine, VerdictLine};
use tidegate_domain::{Name, RegionName};

pub(crate) async fn explain(
    client: impl Fn() -> Result<Client, Failure>,
    out: Output,
    about: &str,
    name: Option<&str>,
) -> Result<u8, Failure> {
    if about.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("TG-")) {
        return explain_code(out, &about.to_ascii_uppercase());
    }
    let form =
        "write `explain service NAME`, `explain region PROVIDER/REGION`, `explain decision ID` or `explain TG-2001`";
    let Some(name) = name else { return Err(Failure::usage(format!("`explain {about}` lacks a name"), form)) };
    match about {
        "service" => {
            let name =
                Name::new(name).map_err(|e| Failure::usage(format!("no service can be called so: {e}"), form))?;
            let explanation: Explanation = client()?.get(&format!("/v1/explain/service/{name}")).await?;
            show(out, &explanation, |e| print_explanation(e, false))?;
        }
        "region" => {
            let name = region(name)?;
            let explanation: Explanation = client()?.get(&format!("/v1/explain/region/{name}")).await?;
            show(out, &explanation, |e| print_explanation(e, true))?;
        }
        "decision" => {
            let id = decision_id(name)?;
            let decision: DecisionDetail = client()?.get(&format!("/v1/decisions/{id}")).await?;
            show(out, &decision, print_decision)?;
        }
        other => return Err(Failure::usage(format!("nothing is known of a `{other}`"), form)),
    }
    Ok(0)
}

fn region(name: &str) -> Result<RegionName, Failure> {
    RegionName::new(name).map_err(|_| {
        let what = format!("`{name}` is no region: a region is named PROVIDER/REGION");
        let next = "write it as in `explain region aws/us-east-1`; `tidegate verdicts` names them, providers too";
        Failure::usage(what, next)
    })
}

/// The number of a decision, with or without the `#` by which it is shown.
pub(crate) fn decision_id(text: &str) -> Result<u64, Failure> {
    text.strip_prefix('#').unwrap_or(text).parse().map_err(|_| {
        Failure::usage(format!("`{text}` is no decision: a decision has a number"), "`tidegate decisions` lists them")
    })
}

/// `explain TG-…`, for programs.
#[derive(Debug, Serialize)]
struct CodePage {
    api_version: &'static str,
    code: &'static str,
    title: &'static str,
    exit_code: u8,
    page: &'static str,
}

fn explain_code(out: Output, text: &str) -> Result<u8, Failure> {
    let Some(code) = Code::parse(text) else {
        let known: Vec<&str> = Code::ALL.iter().map(|c| c.text()).collect();
        return Err(Failure::usage(
            format!("there is no code {text}"),
            format!(
                "the codes are {}; one of a newer server is explained by the command of that version",
                known.join(", ")
            ),
        ));
    };
    let page = PAGES.iter().find(|(text, _)| *text == code.text()).map_or(code.title(), |(_, page)| *page);
    let page = CodePage {
        api_version: tidegate_api::VERSION,
        code: code.text(),
        title: code.title(),
        exit_code: code.exit(),
        page,
    };
    show(out, &page, |p| out!("{}", p.page))?;
    Ok(0)
}

macro_rules! pages {
    ($($code:literal),* $(,)?) => {
        /// The pages ship inside the command: at 03:00 there may be no network to look them up.
        const PAGES: &[(&str, &str)] = &[$(($code, include_str!(concat!("../../docs/errors/", $code, ".md"))),)*];
    };
}
pages!(
    "TG-1001", "TG-1002", "TG-1003", "TG-1004", "TG-1005", "TG-1006", "TG-2001", "TG-2002", "TG-2003", "TG-2004",
    "TG-2005", "TG-2006", "TG-2007", "TG-2008", "TG-2009", "TG-3001", "TG-3002", "TG-3003", "TG-3004", "TG-9001",
);

/// Why a region is where it is rests on who votes, well or not: `votes` shows those on the region and its provider always,
/// else where they do not all say the same or the place is not well.
fn print_explanation(e: &Explanation, votes: bool) {
    out!("{}", e.about);
    for sentence in &e.sentences {
        out!("  {sentence}");
    }
    print_places(&e.places);
    let shown: Vec<_> = e.verdicts.iter().filter(|v| v.kind != "endpoint" || v.health != "healthy").collect();
    if !shown.is_empty() {
        out!("\n{}", verdict_table(&shown));
    }
    for verdict in e.verdicts.iter().filter(|v| (votes && v.kind != "endpoint") || matters(v)) {
        print_votes(verdict);
    }
}

/// Not well, or voted on with more than one voice.
fn matters(verdict: &VerdictLine) -> bool {
    verdict.health != "healthy" || verdict.votes.windows(2).any(|w| w[0].vote != w[1].vote)
}

fn print_places(places: &[PlaceLine]) {
    // A class that these clients may not be served at all would be one row per region with the same word.
    let barred = |p: &PlaceLine| {
        places.iter().all(|q| {
            (&q.class, &q.group) != (&p.class, &p.group) || (q.disposition == "excluded" && q.reasons == p.reasons)
        })
    };
    let mut told: Vec<(&str, &str)> = Vec::new();
    for p in places.iter().filter(|p| barred(p)) {
        if !told.contains(&(&p.class, &p.group)) {
            told.push((&p.class, &p.group));
            out!("  {} at {} is answered 451: {}", p.class, p.group, p.reasons.join("; "));
        }
    }
    let rows = places.iter().filter(|p| !barred(p)).map(|p| {
        vec![
            p.class.clone(),
            p.group.clone(),
            format!("{} ({})", p.region, p.jurisdiction),
            state(&p.disposition),
            if p.share_bps == 0 { String::new() } else { percent(p.share_bps) },
            p.reasons.join("; "),
        ]
    });
    out!("\n{}", table(&["CLASS", "CLIENTS", "PLACE", "", "SHARE", "WHY"], rows.collect()));
}

fn print_decision(d: &DecisionDetail) {
    out!("decision #{} at {}: {}", d.line.id, when(d.line.at_ms), d.line.summary);
    for sentence in &d.moves {
        out!("  {sentence}");
    }
    out!("  generation {} · term {} · kernel {}", d.line.generation, d.term, d.kernel);
    out!("  fleet {} · policy {}", short(&d.fleet), short(&d.policy));
    out!("  input {} · output {} (`tidegate replay {}` compares)", short(&d.input), short(&d.output), d.line.id);
    match d.acked_after_ms {
        Some(ms) => out!("  every edge held it {} after the decision", age(ms)),
        None => out!("  not every edge has acknowledged it, or the server has started since"),
    }
    if !d.same_kernel {
        out!(
            "  {} this server's kernel decides otherwise on the recorded input: the reasons below are its own, not those of then",
            state("warning")
        );
    }
    print_places(&d.places);
    let unwell: Vec<_> = d.verdicts.iter().filter(|v| v.health != "healthy").collect();
    if !unwell.is_empty() {
        out!("\n{}", verdict_table(&unwell));
    }
    for verdict in d.verdicts.iter().filter(|v| matters(v)) {
        print_votes(verdict);
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_about_is_checked_here() {
        assert_eq!(decision_id("#12").ok(), Some(12));
        assert_eq!(decision_id("12").ok(), Some(12));
        for bad in ["", "#", "##1", "-1", "one", "1/../2"] {
            assert_eq!(decision_id(bad).map_err(|e| e.code), Err(2), "{bad}");
        }
        assert!(region("aws/us-east-1").is_ok());
        for bad in ["aws", "aws/", "/us-east-1", "aws/us/east", "aws/us east"] {
            let failure = region(bad).err().unwrap_or_else(|| panic!("{bad} is taken"));
            assert!(failure.code == 2 && failure.message.contains("PROVIDER/REGION"), "{failure}");
        }
    }

    #[test]
    fn votes_that_differ_are_shown() {
        let vote = |vote: &str| tidegate_api::VoteLine {
            vantage: "aws-1".to_owned(),
            place: "aws/us-east-1".to_owned(),
            vote: vote.to_owned(),
            age_ms: Some(1),
        };
        let line = |health: &str, votes: &[&str]| VerdictLine {
            kind: "region".to_owned(),
            name: "aws/us-east-1".to_owned(),
            health: health.to_owned(),
            for_ms: 1,
            electorate: 2,
            eligible: 2,
            agreeing: 2,
            agreeing_providers: 2,
            votes: votes.iter().map(|v| vote(v)).collect(),
        };
        assert!(!matters(&line("healthy", &["up", "up", "up"])));
        assert!(matters(&line("healthy", &["up", "up", "down"])));
        assert!(matters(&line("down", &["down"])));
    }

    #[test]
    fn every_code_has_its_page() {
        for code in Code::ALL {
            assert!(PAGES.iter().any(|(text, _)| *text == code.text()), "{}", code.text());
        }
    }
}
