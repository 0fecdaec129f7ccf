//! One process: started with a log, ended by its id.

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// A built program of the workspace, or a tool.
///
/// # Errors
/// When it is not built: says what to run.
pub fn program(name: &str) -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let dir = exe.parent().and_then(Path::parent).context("the test binary is not in target/*/deps")?;
    let path = dir.join(name);
    if !path.exists() {
        anyhow::bail!("{} is not built: run `cargo build --workspace` (cargo xtask test does)", path.display());
    }
    Ok(path)
}

/// The real Envoy, from PATH.
#[must_use]
pub fn envoy() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let own = std::env::current_exe().ok()?.ancestors().nth(3)?.join("tools");
    std::env::split_paths(&path).chain([own]).map(|d| d.join("envoy")).find(|p| p.is_file())
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// What it printed so far.
    pub log: PathBuf,
}

impl Process {
    /// Starts `program`; output goes to `log`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Path, args: &[String], log: &Path) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("{} could not be started", program.display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(self.pid(), signal)?)
    }

    /// SIGKILL, and waits for the end.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill_nine(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it goes on for longer than `limit`.
    pub async fn end(&mut self, limit: Duration) -> Result<ExitStatus> {
        let log = self.log.clone();
        crate::until(&format!("the end of {}", log.display()), limit, || {
            let ended = self.child.try_wait();
            async move { ended?.context("it still runs") }
        })
        .await
    }

    /// What it printed.
    #[must_use]
    pub fn printed(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be stopped; it may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
