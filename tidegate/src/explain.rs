//! Why is it so: a service, a region, a decision, or an error code.

use crate::args::Output;
use crate::client::Client;
use crate::failure::Failure;
use crate::reads::{print_votes, verdict_table};
use crate::show;
use crate::ui::out;
use crate::ui::{age, percent, state, table, when};
use tidegate_api::{Code, DecisionDetail, Explanation, PlaceLine};

pub(crate) async fn explain(
    client: impl Fn() -> Result<Client, Failure>,
    out: Output,
    about: &str,
    name: Option<&str>,
) -> Result<u8, Failure> {
    if let Some(code) = Code::parse(about) {
        return explain_code(code);
    }
    let form =
        "write `explain service NAME`, `explain region PROVIDER/REGION`, `explain decision ID` or `explain TG-2001`";
    let Some(name) = name else { return Err(Failure::usage(format!("`explain {about}` lacks a name"), form)) };
    match about {
        "service" | "region" => {
            let explanation: Explanation = client()?.get(&format!("/v1/explain/{about}/{name}")).await?;
            show(out, &explanation, print_explanation)?;
        }
        "decision" => {
            let decision: DecisionDetail = client()?.get(&format!("/v1/decisions/{name}")).await?;
            show(out, &decision, print_decision)?;
        }
        other => return Err(Failure::usage(format!("nothing is known of a `{other}`"), form)),
    }
    Ok(0)
}

fn explain_code(code: Code) -> Result<u8, Failure> {
    let page = PAGES.iter().find(|(text, _)| *text == code.text());
    out!("{}", page.map_or(code.title(), |(_, page)| *page));
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

fn print_explanation(e: &Explanation) {
    out!("{}", e.about);
    for sentence in &e.sentences {
        out!("  {sentence}");
    }
    print_places(&e.places);
    let shown: Vec<_> = e.verdicts.iter().filter(|v| v.kind != "endpoint" || v.health != "healthy").collect();
    if !shown.is_empty() {
        out!("\n{}", verdict_table(&shown));
    }
    for verdict in shown.iter().filter(|v| v.health != "healthy") {
        print_votes(verdict);
    }
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
    for verdict in unwell {
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
    fn every_code_has_its_page() {
        for code in Code::ALL {
            assert!(PAGES.iter().any(|(text, _)| *text == code.text()), "{}", code.text());
        }
    }
}
