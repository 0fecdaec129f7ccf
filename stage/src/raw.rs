//! The raw files of a run: one JSON line per fact, written by whoever saw it. `summary` reads nothing else.
//!
//! Owns the line shapes and how they are written (one `write` per line, so that a killed process loses none that it
//! has finished); refuses to judge.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Mutex;

/// A line of `backend-*.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum BackendLine {
    /// The process came up.
    Started { t_ns: u64, region: String, jurisdiction: String, pid: u32 },
    /// A request that was read to its end.
    Request(Served),
    /// Connections accepted so far at one endpoint, and health requests; a line a second where they changed.
    Accepted { t_ns: u64, endpoint: String, connections: u64, health: u64 },
}

/// One request as a backend saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Served {
    /// When its answer was decided.
    pub t_ns: u64,
    /// Which endpoint.
    pub endpoint: String,
    /// Class as the request named it, or empty.
    pub class: String,
    /// Method.
    pub method: String,
    /// `x-stage-id`, or empty.
    pub id: String,
    /// Proxy whose client sent it.
    pub proxy: String,
    /// Status that was answered.
    pub status: u16,
    /// The class may not be here.
    pub forbidden: bool,
}

/// A line of `load.jsonl`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum LoadLine {
    /// A request.
    Request(Sent),
    /// A long stream ended.
    Stream { proxy: String, t_start_ns: u64, t_end_ns: u64, bytes: u64, endpoint: String, end: String },
    /// The generator itself stood still: so many arrivals were due and were left out.
    Stalled { proxy: String, t_ns: u64, left_out: u64 },
}

/// One request as the generator saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sent {
    /// Through which proxy.
    pub proxy: String,
    /// When it was due: latency counts from here.
    pub t_sched_ns: u64,
    /// When its answer was whole, or given up.
    pub t_done_ns: u64,
    /// Class.
    pub class: String,
    /// Method.
    pub method: String,
    /// Unique id.
    pub id: String,
    /// Asked for the slow answer of 120 ms.
    pub slow: bool,
    /// Status, 0 where none came.
    pub status: u16,
    /// What went wrong where no answer came.
    pub error: String,
    /// Why a proxy refused by itself: `x-tidegate-refusal`, or Envoy's overload headers.
    pub refusal: String,
    /// Endpoint that answered.
    pub endpoint: String,
    /// How it counts.
    pub outcome: Outcome,
}

/// How a request counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Answered 2xx.
    Ok,
    /// Anything that a client would call a failure.
    Failed,
    /// Refused on purpose for want of room.
    Shed,
    /// 451 for a class that may not be asked for where the proxy stands.
    Refused451,
}

/// A line of `marks.jsonl`: what the stage did and what it saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// When.
    pub t_ns: u64,
    /// Story.
    pub story: String,
    /// What.
    pub what: MarkKind,
}

/// What a mark says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mark", rename_all = "snake_case")]
pub(crate) enum MarkKind {
    /// The story begins.
    Begin,
    /// The fault, or the act of a person, that the story measures from. `providers` are those that die.
    Fault { providers: Vec<String> },
    /// This region answers its data badly, its health path well.
    Ailing { region: String },
    /// The verdict on all that died stands.
    Verdict,
    /// One proxy acknowledged the plan that answers the fault.
    ProxyAcked { proxy: String },
    /// Every subscriber acknowledged it.
    AllAcked { subscribers: u64 },
    /// What died is back.
    Repaired,
    /// Over-limit is not judged from here on (all-down) or is again.
    LimitsJudged { judged: bool },
    /// A claim of the story, proved or not.
    Claim { text: String, held: bool },
    /// The server was killed: from here on the data plane is without it.
    ServerKilled,
    /// It answers again.
    ServerBack,
    /// Nothing is to be sent to this provider from here on: a person has drained it.
    Emptied { provider: String },
    /// And from here on it may be sent something again.
    Refilling { provider: String },
    /// The story could not be played here.
    Skipped { why: String },
    /// The story is over.
    End,
}

/// A line of `proxies.jsonl`: what a proxy's own statistics say about tries at one provider's endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tries {
    /// When it was read.
    pub t_ns: u64,
    /// Proxy.
    pub proxy: String,
    /// Provider.
    pub provider: String,
    /// Requests given to its endpoints plus connections that failed, since the proxy started. A connection that fails
    /// is in here only when it has failed.
    pub tries: u64,
    /// Requests given to its endpoints plus connections opened: whatever is begun is in here at once, some of it twice.
    /// Stands still exactly when nothing reaches for the provider any more.
    pub begun: u64,
}

/// A line of `server.jsonl`: what the server's operator API said. Times of verdicts and acknowledgements are taken from
/// here, whatever the marks say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "snake_case")]
pub(crate) enum ServerLine {
    /// A verdict on a provider, as its event stream told it.
    Verdict { t_ns: u64, provider: String, down: bool },
    /// The plan that stood, and the regions that it gives anything.
    Plan { t_ns: u64, generation: u64, carries: Vec<String> },
    /// What a region was given, in basis points, all classes and client groups together, when that changed.
    Weight { t_ns: u64, region: String, bps: u64 },
    /// Proxies in step with the plan that stood, by name, and how many subscribers of all kinds were.
    Edges { t_ns: u64, synced: Vec<String>, all: u64 },
}

/// A line of `subscribers.jsonl`: one response as a synthetic subscriber got it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Received {
    /// When.
    pub t_ns: u64,
    /// Who.
    pub node: String,
    /// `CDS`, `EDS`, `LDS`.
    pub kind: String,
    /// The generation that it was made from, where the response says so.
    pub generation: Option<u64>,
    /// Resources in it.
    pub resources: Vec<String>,
    /// Assignments in it without any endpoint.
    pub empty: Vec<String>,
    /// Resources taken away.
    pub removed: Vec<String>,
}

/// The two counts of [`Tries`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub tries: u64,
    pub begun: u64,
}

/// Appends lines to a file, one `write` each.
#[derive(Debug)]
pub(crate) struct Lines {
    file: Mutex<File>,
}

impl Lines {
    pub(crate) fn append(path: &Path) -> std::io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self { file: Mutex::new(file) })
    }
    /// Writes one line. A full disk loses the line and says so on stderr: the run is then worth nothing.
    pub(crate) fn write<T: Serialize>(&self, line: &T) {
        let Ok(mut text) = serde_json::to_vec(line) else { return };
        text.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Err(e) = file.write_all(&text) {
            eprintln!("raw line lost: {e}");
        }
    }
}

/// Reads all whole lines of a file; a last line cut short by a kill is left out, any other fault is an error.
pub(crate) fn read_lines<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let mut reader = BufReader::new(File::open(path).map_err(|e| anyhow::anyhow!("{}: {e}", path.display()))?);
    let (mut out, mut text, mut number) = (Vec::new(), String::new(), 0_u64);
    loop {
        text.clear();
        number += 1;
        if reader.read_line(&mut text)? == 0 {
            return Ok(out);
        }
        match serde_json::from_str(&text) {
            Ok(line) => out.push(line),
            Err(_) if !text.ends_with('\n') => return Ok(out),
            Err(e) => anyhow::bail!("{} line {number}: {e}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_left_out_and_a_torn_middle_is_an_error() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("marks.jsonl");
        let lines = Lines::append(&path).expect("open");
        lines.write(&Mark { t_ns: 1, story: "a".into(), what: MarkKind::Begin });
        lines.write(&Mark { t_ns: 2, story: "a".into(), what: MarkKind::End });
        let mut text = std::fs::read_to_string(&path).expect("read");
        text.push_str("{\"t_ns\":3");
        std::fs::write(&path, &text).expect("write");
        assert_eq!(read_lines::<Mark>(&path).expect("torn end").len(), 2);
        std::fs::write(&path, format!("{{\"t_ns\n{text}")).expect("write");
        assert!(read_lines::<Mark>(&path).expect_err("torn middle").to_string().contains("line 1"));
    }
}
