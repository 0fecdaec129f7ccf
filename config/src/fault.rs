//! A fault of configuration: where it stands, what is wrong and how to mend it. Owns the wording's shape; refuses to
//! drop one: callers get all of them, sorted by place.

use std::fmt;
use std::sync::Arc;

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is taken; a person should look.
    Warning,
}

/// One fault, with its mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Path of the file relative to the configuration's directory; empty where the fault is of the whole fleet.
    pub file: String,
    /// Line in the file, from 1; none where the fault has no line.
    pub line: Option<usize>,
    /// Path of the key within its document, as in `spec.classes[0].permitted`.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub mend: String,
    /// Whether it stops the configuration.
    pub severity: Severity,
}

impl fmt::Display for Fault {
    /// `file:line: key: what; mend`, without the parts that are not known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}:", self.file)?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}; {}", self.what, self.mend)
    }
}

/// Everything that is wrong with a configuration. Nothing was changed; trying again helps only after a mend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    /// At least one of severity [`Severity::Error`], sorted by file and line; the warnings stand among them.
    pub faults: Vec<Fault>,
}

impl Faults {
    /// How many of the faults are errors.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.faults.iter().filter(|f| f.severity == Severity::Error).count()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            let word = match fault.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            writeln!(f, "{word}: {fault}")?;
        }
        Ok(())
    }
}
impl std::error::Error for Faults {}

/// Where a document begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Src {
    pub(crate) file: Arc<str>,
    /// Lines of the file before the document's text.
    pub(crate) offset: usize,
}

/// Collects faults while the work goes on.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    faults: Vec<Fault>,
}

impl Sink {
    pub(crate) fn error(&mut self, src: &Src, line: usize, key: &str, what: impl Into<String>, mend: &str) {
        self.push(Severity::Error, src, line, key, what.into(), mend);
    }
    pub(crate) fn warn(&mut self, src: &Src, line: usize, key: &str, what: impl Into<String>, mend: &str) {
        self.push(Severity::Warning, src, line, key, what.into(), mend);
    }
    /// A fault of the whole fleet; `at` is where a person would go on, the last document of the kind.
    pub(crate) fn whole(
        &mut self,
        severity: Severity,
        at: Option<(&Src, usize)>,
        key: &str,
        what: impl Into<String>,
        mend: &str,
    ) {
        let nowhere = Src { file: Arc::from(""), offset: 0 };
        let (src, line) = at.unwrap_or((&nowhere, 0));
        self.push(severity, src, line, key, what.into(), mend);
    }
    /// An error of a file as such.
    pub(crate) fn file(&mut self, file: &str, what: impl Into<String>, mend: &str) {
        self.push(Severity::Error, &Src { file: Arc::from(file), offset: 0 }, 0, "", what.into(), mend);
    }
    fn push(&mut self, severity: Severity, src: &Src, line: usize, key: &str, what: String, mend: &str) {
        let line = (line > 0).then_some(src.offset + line);
        let (file, key, mend) = (src.file.to_string(), key.to_owned(), mend.to_owned());
        self.faults.push(Fault { file, line, key, what, mend, severity });
    }
    /// The warnings where nothing is wrong, else everything.
    pub(crate) fn finish(mut self) -> Result<Vec<Fault>, Faults> {
        self.faults.sort_by(|a, b| (&a.file, a.line, &a.key, &a.what).cmp(&(&b.file, b.line, &b.key, &b.what)));
        self.faults.dedup();
        if self.faults.iter().any(|f| f.severity == Severity::Error) {
            Err(Faults { faults: self.faults })
        } else {
            Ok(self.faults)
        }
    }
}
