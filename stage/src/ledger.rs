//! What a run has made outside itself: namespaces and processes, written down before use, so that the next run can
//! remove what a killed one left behind.
//!
//! Owns the slot (a small number that keeps runs of one machine apart) and its file; refuses to touch anything that is
//! not recorded there.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Runs that one machine can hold at once.
const SLOTS: u8 = 16;

/// A slot, held by a file lock that dies with the process.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Which one.
    pub number: u8,
    file: Mutex<File>,
}

impl Slot {
    /// Takes the first free slot under `dir` and removes what its last owner left.
    pub(crate) fn take(dir: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(dir)?;
        for number in 0..SLOTS {
            let path = dir.join(format!("slot-{number}"));
            let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(e)) => return Err(e.into()),
            }
            let mut left = String::new();
            file.read_to_string(&mut left)?;
            remove(&left);
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            return Ok(Self { number, file: Mutex::new(file) });
        }
        anyhow::bail!("all {SLOTS} slots in {} are taken by running stages", dir.display())
    }
    fn record(&self, line: &str) {
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A lost line only means that a later run cannot clean it up.
        let _ = file.write_all(format!("{line}\n").as_bytes());
    }
    pub(crate) fn namespace(&self, name: &str) {
        self.record(&format!("netns {name}"));
    }
    pub(crate) fn link(&self, name: &str) {
        self.record(&format!("link {name}"));
    }
    pub(crate) fn process(&self, pid: u32) {
        if let Some(start) = start_time(pid) {
            self.record(&format!("pid {pid} {start}"));
        }
    }
}

impl Drop for Slot {
    /// Also on panic: all that is on record goes.
    fn drop(&mut self) {
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut left = String::new();
        if file.seek(SeekFrom::Start(0)).is_ok() && file.read_to_string(&mut left).is_ok() {
            remove(&left);
            let _ = file.set_len(0);
        }
    }
}

/// Where slots live: shared by all runs of this user.
pub(crate) fn home() -> PathBuf {
    let shared = Path::new("/run/tidegate-stage");
    if nix::unistd::geteuid().is_root() {
        return shared.to_path_buf();
    }
    std::env::temp_dir().join(format!("tidegate-stage-{}", nix::unistd::geteuid()))
}

fn remove(record: &str) {
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = record.lines().map(words).collect();
    for line in &lines {
        if let [kind, pid, start] = &line[..]
            && kind == "pid"
            && let Ok(pid) = pid.parse::<u32>()
            // The number may belong to another program by now: its start time tells.
            && start_time(pid).as_deref() == Some(start)
            && let Ok(raw) = i32::try_from(pid)
        {
            let _ = kill(Pid::from_raw(raw), Signal::SIGKILL);
        }
    }
    for line in &lines {
        let args: &[&str] = match &line[..] {
            [kind, name] if kind == "netns" => &["netns", "del", name.as_str()],
            [kind, name] if kind == "link" => &["link", "del", name.as_str()],
            _ => continue,
        };
        let _ = Command::new("ip").args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// Field 22 of `/proc/PID/stat`: with the pid it names a process for good.
fn start_time(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may hold blanks.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_held_and_its_leftovers_go() {
        let dir = tempfile::tempdir().expect("dir");
        let mut sleeper = Command::new("sleep").arg("60").spawn().expect("sleep");
        let start = start_time(sleeper.id()).expect("start");
        std::fs::write(dir.path().join("slot-0"), format!("pid {} {start}\n", sleeper.id())).expect("write");
        let first = Slot::take(dir.path()).expect("first");
        assert_eq!(first.number, 0);
        assert!(!sleeper.wait().expect("wait").success(), "a killed run's process is killed");
        assert_eq!(Slot::take(dir.path()).expect("second").number, 1, "slot 0 is held");
    }
    #[test]
    fn a_pid_that_belongs_to_another_now_is_left_alone() {
        let mut sleeper = Command::new("sleep").arg("60").spawn().expect("sleep");
        remove(&format!("pid {} 1\n", sleeper.id()));
        assert!(sleeper.try_wait().expect("alive").is_none());
        sleeper.kill().expect("kill");
        sleeper.wait().expect("wait");
    }
}
