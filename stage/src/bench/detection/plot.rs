//! Two small pictures as SVG: when all others had seen a death, and bytes per node. Owns the drawing; refuses to compute.

use super::Trials;
use super::cluster::Cost;
use anyhow::Context;
use std::fmt::Write;
use std::path::Path;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 44.0;
const OURS: &str = "#0b6e99";
const PEER: &str = "#c4521b";

/// Writes `detection-times.svg` and `detection-bytes.svg`.
pub(super) fn write(dir: &Path, all: &[Trials], swim: &Cost, reports: &Cost, peer: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    let save = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    };
    save("detection-times.svg", times(all, peer))?;
    let bars = [
        ("SWIM, before sealing", swim.payload_rate(), 350.0),
        ("SWIM, sealed", swim.sealed_rate(), 650.0),
        ("with reports of 100 targets", reports.sealed_rate(), 1_500.0),
    ];
    save("detection-bytes.svg", bytes(&bars))
}

fn frame(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{title}</text>\n"
    )
}

/// The share of trials in which all had seen it by then, a step per trial.
fn times(all: &[Trials], peer: &str) -> String {
    let peer = peer.split(" (").next().unwrap_or(peer);
    let most = all.iter().flat_map(|t| t.ours.iter().chain(&t.serf)).map(|t| t.all).fold(1_000.0, f64::max);
    let end = (most / 2_000.0).ceil() * 2_000.0;
    let x = |ms: f64| LEFT + ms / end * (WIDTH - LEFT - RIGHT);
    let y = |share: f64| HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);
    let mut out = frame("Killed member seen down by all 31 others", HEIGHT);
    let mut tick = 0.0;
    while tick <= end {
        let _ = writeln!(
            out,
            "<path d=\"M{0:.1} {1:.1}V{2:.1}\" stroke=\"#ddd\"/><text x=\"{0:.1}\" y=\"{3:.1}\" text-anchor=\"middle\">{4:.0} s</text>",
            x(tick),
            y(0.0),
            y(1.0),
            y(0.0) + 16.0,
            tick / 1_000.0
        );
        tick += 2_000.0;
    }
    for share in [0.0, 0.5, 1.0] {
        let _ = writeln!(
            out,
            "<path d=\"M{LEFT} {0:.1}H{1:.1}\" stroke=\"#ddd\"/><text x=\"{2}\" y=\"{3:.1}\" text-anchor=\"end\">{4:.0} %</text>",
            y(share),
            WIDTH - RIGHT,
            LEFT - 6.0,
            y(share) + 4.0,
            share * 100.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">after kill -9; share of trials</text>",
        x(end / 2.0),
        HEIGHT - 10.0
    );
    let mut line = 0.0;
    for trials in all {
        let dash = ["", "6 3", "2 3"][(trials.loss_per_cent as usize / 5).min(2)];
        for (of, colour, name) in [(&trials.ours, OURS, "Tidegate"), (&trials.serf, PEER, peer)] {
            let mut sorted: Vec<f64> = of.iter().map(|t| t.all).collect();
            sorted.sort_by(f64::total_cmp);
            let mut path = format!("M{:.1} {:.1}", x(0.0), y(0.0));
            for (i, ms) in sorted.iter().enumerate() {
                let _ = write!(path, "H{:.1}V{:.1}", x(*ms), y((i + 1) as f64 / sorted.len() as f64));
            }
            let at = TOP + 8.0 + line * 18.0;
            let _ = writeln!(
                out,
                "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>\n\
                 <path d=\"M{0} {at}h18\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>\
                 <text x=\"{1}\" y=\"{2}\" font-size=\"10\">{name}, {3} %</text>",
                WIDTH - RIGHT + 6.0,
                WIDTH - RIGHT + 28.0,
                at + 4.0,
                trials.loss_per_cent
            );
            line += 1.0;
        }
    }
    out + "</svg>\n"
}

/// Bars with their gates.
fn bytes(bars: &[(&str, f64, f64)]) -> String {
    let left = 190.0;
    let end = bars.iter().map(|b| b.1.max(b.2)).fold(1.0, f64::max) * 1.15;
    let x = |v: f64| left + v / end * (WIDTH - left - 70.0);
    let height = 70.0 + bars.len() as f64 * 36.0;
    let mut out = frame("Bytes per second and node at 5 % loss, 32 members, IP and UDP headers among them", height);
    for (i, (name, value, gate)) in bars.iter().enumerate() {
        let y = TOP + i as f64 * 36.0;
        let colour = if value <= gate { OURS } else { PEER };
        let _ = writeln!(
            out,
            "<text x=\"{0}\" y=\"{1}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{left}\" y=\"{y}\" width=\"{2:.1}\" height=\"22\" fill=\"{colour}\"/>\
             <text x=\"{3:.1}\" y=\"{1}\">{value:.0}</text>\
             <path d=\"M{4:.1} {5}v30\" stroke=\"#000\" stroke-dasharray=\"3 2\"/>",
            left - 8.0,
            y + 15.0,
            x(*value) - left,
            x(value.max(*gate)) + 6.0,
            x(*gate),
            y - 4.0
        );
    }
    let _ = writeln!(out, "<text x=\"{left}\" y=\"{:.1}\" font-size=\"11\">dashed: the gate</text>", height - 14.0);
    out + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::super::Trial;
    use super::*;

    #[test]
    fn pictures_hold_every_curve_and_bar() {
        let of = |all: &[f64]| all.iter().map(|all| Trial { first: 1.0, all: *all }).collect();
        let all = [5, 10].map(|loss_per_cent| Trials { loss_per_cent, ours: of(&[3e3, 4e3]), serf: of(&[9e3]) });
        let picture = times(&all, "serf 1 (x)");
        assert_eq!(picture.matches("fill=\"none\"").count(), 4);
        assert!(picture.contains("serf 1, 10 %") && picture.contains("10 s") && picture.ends_with("</svg>\n"));
        // The slowest of two trials ends its curve at the top.
        assert!(picture.contains(&format!("V{TOP:.1}\" fill")), "{picture}");
        let bars = bytes(&[("a", 300.0, 350.0), ("b", 700.0, 650.0)]);
        assert_eq!((bars.matches(OURS).count(), bars.matches(PEER).count()), (1, 1));
    }
}
