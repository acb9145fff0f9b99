//! Standard output of the commands that are used in pipes.

use std::io::{self, Write as _, stdout};

/// Writes `text`. The error is for the caller to judge: a reader that has seen enough and left is
/// nothing to some commands, and a lost secret to others.
pub fn write(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
