//! A set of Rego texts, compiled once. Owns what is refused at load, the bundle's hash and the one engine.

use crate::purity::{forbidden, too_deep};
use crate::recursion::recursive;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};
use ring::digest::{Context, SHA256};
use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use thiserror::Error;
use tidegate_domain::PolicyAnswer;

/// Most bytes of all files of a bundle together.
pub const SIZE_MAX_BYTES: usize = 256 << 10;
/// Longest one evaluation may take, in milliseconds of wall clock. A policy that hits this counts as failed; the answer
/// that then stands is recorded, because the clock cannot be replayed.
pub const EVALUATION_MAX_MS: u64 = 100;
/// Most answers that are kept; beyond, the oldest half by hash is forgotten and asked again.
const KEPT_MAX: usize = 1 << 18;
/// Deepest nesting of brackets: the parser tries each bracket in two ways, so its time doubles with every level.
const NESTING_MAX: usize = 12;
/// The rule that is asked.
pub(crate) const RULE: &str = "data.tidegate.residency.decision";
/// The package that must declare it.
const PACKAGE: &str = "data.tidegate.residency";

/// Why a bundle was refused. Nothing was changed; trying again helps only with other texts.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// There is no text at all.
    #[error("the bundle has no file; name at least one under `spec.files` of a document of kind Policy")]
    Empty,
    /// The texts are too long together.
    #[error("the bundle has {bytes} bytes, more than {SIZE_MAX_BYTES}; shorten it")]
    TooLarge {
        /// How many bytes.
        bytes: usize,
    },
    /// A text uses what is not a function of the question.
    #[error("{file}:{line}: `{name}` is refused; an answer must depend on the question alone")]
    Impure {
        /// Path of the text.
        file: String,
        /// Line, from 1.
        line: usize,
        /// The name that was used.
        name: String,
    },
    /// A text is no Rego, or uses what does not exist.
    #[error("{file}:{line}: {message}")]
    Compile {
        /// Path of the text, empty where the fault is of all together.
        file: String,
        /// Line, from 1; 0 where it is not known.
        line: usize,
        /// The compiler's words.
        message: String,
    },
    /// No text declares the rule that is asked.
    #[error("no file declares `decision` in `package tidegate.residency`")]
    NoDecision,
}

/// Compiled policy. Cheap to ask again: answers are kept by the question's hash for as long as the bundle lives.
pub struct Bundle {
    hash: [u8; 32],
    files: Vec<(String, String)>,
    inner: Mutex<Inner>,
}

struct Inner {
    engine: Engine,
    kept: BTreeMap<[u8; 32], PolicyAnswer>,
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.files.iter().map(|(n, _)| n.as_str()).collect();
        f.debug_struct("Bundle").field("files", &names).finish_non_exhaustive()
    }
}

/// What one evaluation gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Evaluated now.
    Fresh(PolicyAnswer),
    /// Known from before.
    Kept(PolicyAnswer),
    /// Threw, gave nothing, or gave nonsense.
    Failed(String),
}

impl Bundle {
    /// Compiles `files`, given as (path, text) in any order.
    ///
    /// # Errors
    /// When the texts are empty, too long, impure, no Rego, or do not declare the rule that is asked.
    pub fn compile(mut files: Vec<(String, String)>) -> Result<Self, PolicyError> {
        files.sort();
        let (mut engine, packages) = engine(&files)?;
        let declared = |((path, _), package): (&(String, String), &String)| {
            package == PACKAGE && engine.has_declared_rule_rooted_at(path, "decision").unwrap_or(false)
        };
        if !files.iter().zip(&packages).any(declared) {
            return Err(PolicyError::NoDecision);
        }
        engine.compile_with_entrypoint(&RULE.into()).map_err(|e| refused(&e.to_string()))?;
        let hash = hash(&files);
        Ok(Self { hash, files, inner: Mutex::new(Inner { engine, kept: BTreeMap::new() }) })
    }

    /// SHA-256 over the sorted names and texts: equal content, equal hash.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    pub(crate) fn files(&self) -> &[(String, String)] {
        &self.files
    }

    /// Asks one question, given as JSON with its hash.
    pub(crate) fn ask(&self, question: &str, question_hash: [u8; 32]) -> Asked {
        // A poisoned lock means a panic inside the engine: its memory is rebuilt by the next `set_input`.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = inner.kept.get(&question_hash) {
            return Asked::Kept(answer.clone());
        }
        match evaluate(&mut inner.engine, question) {
            Ok(answer) => {
                if inner.kept.len() >= KEPT_MAX {
                    inner.kept = inner.kept.split_off(&[0x80; 32]);
                }
                inner.kept.insert(question_hash, answer.clone());
                Asked::Fresh(answer)
            }
            Err(why) => Asked::Failed(why),
        }
    }
}

/// Checks and parses `files` into an engine with every bound set; beside it the package of each file.
pub(crate) fn engine(files: &[(String, String)]) -> Result<(Engine, Vec<String>), PolicyError> {
    let bytes: usize = files.iter().map(|(name, text)| name.len() + text.len()).sum();
    if files.is_empty() {
        return Err(PolicyError::Empty);
    }
    if bytes > SIZE_MAX_BYTES {
        return Err(PolicyError::TooLarge { bytes });
    }
    let mut engine = Engine::new();
    engine.set_rego_v0(false);
    engine.set_strict_builtin_errors(true);
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit: Duration::from_millis(EVALUATION_MAX_MS),
        check_interval: NonZeroU32::MIN.saturating_add(255),
    });
    let mut packages = Vec::with_capacity(files.len());
    for (file, text) in files {
        if let Some((line, name)) = forbidden(text) {
            return Err(PolicyError::Impure { file: file.clone(), line, name });
        }
        if let Some(line) = too_deep(text, NESTING_MAX) {
            let message = format!("brackets are nested deeper than {NESTING_MAX}");
            return Err(PolicyError::Compile { file: file.clone(), line, message });
        }
        packages.push(engine.add_policy(file.clone(), text.clone()).map_err(|e| refused(&e.to_string()))?);
    }
    if let Some((file, line, name)) = recursive(&mut engine) {
        let message = format!("`{name}` can come to call itself; Rego knows no recursion");
        return Err(PolicyError::Compile { file, line, message });
    }
    Ok((engine, packages))
}

fn hash(files: &[(String, String)]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for (name, text) in files {
        for part in [name, text] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
    }
    let mut hash = [0_u8; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The compiler's message, taken apart: a line `--> file:line:column`, then the text with a mark, then `error: …`.
pub(crate) fn refused(message: &str) -> PolicyError {
    let place = message.lines().find_map(|l| l.trim().strip_prefix("--> "));
    let mut parts = place.unwrap_or_default().rsplitn(3, ':');
    let (_column, line, file) = (parts.next(), parts.next(), parts.next());
    let words = message.lines().rev().find_map(|l| l.trim().strip_prefix("error: ")).unwrap_or(message).trim();
    PolicyError::Compile {
        file: file.unwrap_or_default().to_owned(),
        line: line.and_then(|l| l.parse().ok()).unwrap_or(0),
        message: words.to_owned(),
    }
}

fn evaluate(engine: &mut Engine, question: &str) -> Result<PolicyAnswer, String> {
    engine.set_input_json(question).map_err(|e| format!("the question was not taken: {e}"))?;
    let value = engine.eval_rule(RULE.to_owned()).map_err(|e| match refused(&e.to_string()) {
        PolicyError::Compile { file, line, message } if line > 0 => format!("{file}:{line}: {message}"),
        PolicyError::Compile { message, .. } => message,
        other => other.to_string(),
    })?;
    answer(&value)
}

/// Exactly `{"allow": bool, "reason": string}`, with a reason on a denial.
fn answer(value: &Value) -> Result<PolicyAnswer, String> {
    const REASON_MAX_CHARS: usize = 512;
    let Value::Object(object) = value else {
        return Err(match value {
            Value::Undefined => "the answer is undefined".to_owned(),
            other => format!("the answer is no object: {}", shortened(&other.to_string())),
        });
    };
    if let Some((key, _)) =
        object.iter().find(|(k, _)| !matches!(k, Value::String(s) if matches!(&**s, "allow" | "reason")))
    {
        return Err(format!("the answer has a key that is not known: {}", shortened(&key.to_string())));
    }
    let Value::Bool(allow) = value["allow"] else {
        return Err("`allow` is missing or no boolean".to_owned());
    };
    let Value::String(reason) = &value["reason"] else {
        return Err("`reason` is missing or no string".to_owned());
    };
    match (allow, reason.trim().is_empty(), reason.chars().count() > REASON_MAX_CHARS) {
        (_, _, true) => Err(format!("`reason` is longer than {REASON_MAX_CHARS} characters")),
        (false, true, _) => Err("a denial without a reason".to_owned()),
        (true, _, _) => Ok(PolicyAnswer { allow, reason: String::new() }),
        (false, _, _) => Ok(PolicyAnswer { allow, reason: reason.trim().to_owned() }),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
