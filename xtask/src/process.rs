//! Running other programs so that none outlives this one.
//!
//! Every program runs in a process group of its own. What the terminal or a supervisor wants
//! ended, this program is told, and it ends the whole group: a test's servers go with the test.

use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::tell;

/// How often a running program is looked after while it says nothing.
const TICK: Duration = Duration::from_millis(200);

/// How long the pipes of a program that has ended may stay open before what still holds them is
/// ended too.
const GRACE: Duration = Duration::from_secs(2);

/// Whether a signal came that asks this program to end.
static ASKED_TO_END: AtomicBool = AtomicBool::new(false);

/// The error of a command that was broken off by a signal.
#[derive(Debug)]
pub struct Interrupted;

impl std::error::Error for Interrupted {}

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

/// From here on a signal to end does not end this program by itself; [`watch`] acts on it.
pub fn watch_signals() -> Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, &ASKED_TO_END).context("cannot watch for signals")?;
    }
    Ok(())
}

/// Whether a signal to end came since the last call.
fn asked_to_end() -> bool {
    ASKED_TO_END.swap(false, Ordering::SeqCst)
}

/// Fails with [`Interrupted`] when a signal to end came.
pub fn fail_if_asked_to_end() -> Result<()> {
    if asked_to_end() { Err(Interrupted.into()) } else { Ok(()) }
}

/// What becomes of the watched program when this one is asked to end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum OnSignal {
    /// It is killed with everything that it started, and [`watch`] fails with [`Interrupted`].
    Kill,
    /// It is asked to end, in its own time, by SIGTERM; a second signal kills it.
    Drain,
}

/// What [`watch`] reports while the program runs.
pub enum Event<'a> {
    /// A line that it wrote to its standard output, where that is piped.
    Out(&'a str),
    /// A line that it wrote to its standard error, where that is piped.
    Err(&'a str),
    /// It has said nothing for a moment.
    Quiet,
}

/// How a watched program ended.
pub enum End {
    /// By itself. A program that was drained counts as well.
    Exited(ExitStatus),
    /// It was killed, with everything that it started, because its time was up.
    TimedOut,
}

impl End {
    /// Whether the program ended by itself and reports success.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited(status) if status.success())
    }
}

enum Line {
    Out(String),
    Err(String),
}

/// Runs a program to its end and reports what it writes to those of its streams that the caller
/// has piped.
///
/// # Errors
///
/// When it cannot be started, and [`Interrupted`] as [`OnSignal`] says.
pub fn watch(
    command: &mut Command,
    limit: Option<Duration>,
    on_signal: OnSignal,
    report: &mut dyn FnMut(Event<'_>) -> Result<()>,
) -> Result<End> {
    let mut group = Group::spawn(command)?;
    let lines = group.lines();
    let deadline = limit.map(|limit| Instant::now() + limit);
    let mut drained = false;
    let mut ended: Option<(ExitStatus, Instant)> = None;
    let mut open = true;
    loop {
        if open {
            match lines.recv_timeout(TICK) {
                Ok(Line::Out(line)) => report(Event::Out(&line))?,
                Ok(Line::Err(line)) => report(Event::Err(&line))?,
                Err(RecvTimeoutError::Timeout) => report(Event::Quiet)?,
                Err(RecvTimeoutError::Disconnected) => open = false,
            }
        } else if ended.is_none() {
            std::thread::sleep(TICK / 10);
            report(Event::Quiet)?;
        }
        if asked_to_end() {
            if on_signal == OnSignal::Kill || drained {
                return Err(Interrupted.into());
            }
            group.ask_to_end();
            drained = true;
        }
        if deadline.is_some_and(|deadline| Instant::now() > deadline) {
            return Ok(End::TimedOut);
        }
        if ended.is_none() {
            ended = group.try_wait()?.map(|status| (status, Instant::now()));
        }
        if let Some((status, since)) = ended
            && (!open || since.elapsed() > GRACE)
        {
            return Ok(End::Exited(status));
        }
    }
}

/// Runs a program to its end and returns what it wrote, both streams together in the order of
/// their arrival.
pub fn output(command: &mut Command, limit: Option<Duration>) -> Result<(End, String)> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut text = String::new();
    let end = watch(command, limit, OnSignal::Kill, &mut |event| {
        if let Event::Out(line) | Event::Err(line) = event {
            text.push_str(line);
            text.push('\n');
        }
        Ok(())
    })?;
    Ok((end, text))
}

/// A program and everything that it started.
struct Group {
    leader: Child,
    id: u32,
}

impl Group {
    fn spawn(command: &mut Command) -> Result<Self> {
        let leader = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self { id: leader.id(), leader })
    }

    /// What it writes to its piped streams. The channel closes when the last holder of the
    /// streams has let go of them.
    fn lines(&mut self) -> Receiver<Line> {
        let (sender, receiver) = channel();
        if let Some(stream) = self.leader.stdout.take() {
            let sender = sender.clone();
            std::thread::spawn(move || pass_on(stream, &sender, Line::Out));
        }
        if let Some(stream) = self.leader.stderr.take() {
            std::thread::spawn(move || pass_on(stream, &sender, Line::Err));
        }
        receiver
    }

    fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.leader.try_wait().context("cannot wait for a program that was started")
    }

    fn ask_to_end(&self) {
        send_signal("TERM", &self.id.to_string());
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Also where the leader has ended: what it left behind must not outlive it.
        send_signal("KILL", &format!("-{}", self.id));
        // It is dead, or the system could not be asked; there is nobody to tell.
        let _ = self.leader.wait();
    }
}

/// The shell has `kill` built in; small systems have no program of that name.
fn send_signal(signal: &str, to: &str) {
    let sent = Command::new("sh")
        .args(["-c", r#"kill -s "$0" -- "$1""#, signal, to])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if let Err(error) = sent {
        tell::note(format_args!("xtask: cannot send SIG{signal} to process {to}: {error}"));
    }
}

fn pass_on(stream: impl Read, to: &Sender<Line>, kind: fn(String) -> Line) {
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    while matches!(reader.read_until(b'\n', &mut bytes), Ok(1..)) {
        let text = String::from_utf8_lossy(&bytes);
        if to.send(kind(text.trim_end_matches(['\n', '\r']).to_owned())).is_err() {
            return;
        }
        bytes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        command
    }

    #[test]
    fn both_streams_are_reported_to_the_last_line() {
        let (end, text) = output(&mut shell("echo one; echo two >&2; printf three"), None).unwrap();
        assert!(end.is_success());
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["one", "three", "two"]);
    }

    #[test]
    fn a_program_that_overstays_its_time_is_killed_with_what_it_started() {
        let script = "sleep 600 & echo $!; wait";
        let (end, text) = output(&mut shell(script), Some(Duration::from_millis(500))).unwrap();
        assert!(matches!(end, End::TimedOut));
        let pid = text.trim();
        assert!(!pid.is_empty());
        let deadline = Instant::now() + Duration::from_secs(10);
        while shell(&format!("kill -0 {pid} 2>/dev/null")).status().unwrap().success() {
            assert!(Instant::now() < deadline, "process {pid} is still there");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_program_that_leaves_another_behind_does_not_hold_up_the_caller() {
        let begun = Instant::now();
        let (end, _) = output(&mut shell("sleep 600 &"), None).unwrap();
        assert!(end.is_success());
        assert!(begun.elapsed() < Duration::from_mins(1));
    }
}
