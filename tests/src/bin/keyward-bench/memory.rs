//! Memory: that of other processes, and what the kernel keeps of files.

use std::fs::File;
use std::path::Path;

use anyhow::Context as _;
use rustix::fs::{Advice, fadvise};

/// What a process has in memory, and had at most since [`forget_peak`], in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub now: u64,
    pub peak: u64,
}

impl Memory {
    /// Of the process `pid`.
    pub fn of(pid: u32) -> anyhow::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
            .context("reading the memory of a process, which may have ended")?;
        let field = |name| kibibytes(&status, name).context("reading /proc/<pid>/status");
        Ok(Self { now: 1024 * field("VmRSS:")?, peak: 1024 * field("VmHWM:")? })
    }
}

fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix(" kB")?.parse().ok()
}

/// Has the kernel count the peak of the process `pid` from now on.
pub fn forget_peak(pid: u32) -> anyhow::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("forgetting a peak of memory")
}

/// Has the kernel forget what it keeps in memory of the files in `directory`.
pub fn forget_files(directory: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        // Those that went meanwhile are forgotten.
        let Ok(file) = File::open(&path) else { continue };
        // What has not been written yet would be kept.
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_status_is_found_by_its_name() {
        let status = "VmPeak:\t  10 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 7 kB\n";
        assert_eq!(kibibytes(status, "VmHWM:"), Some(2048));
        assert_eq!(kibibytes(status, "VmSwap:"), None);
    }

    #[test]
    fn this_process_has_memory_and_had_no_less() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(memory.now > 0 && memory.peak >= memory.now, "{memory:?}");
    }
}
