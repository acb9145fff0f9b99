//! Bodies in chunks (RFC 9112, section 7.1), as lists are sent.

use anyhow::Context as _;

/// Takes a body apart that comes in chunks, in whatever pieces it is read.
#[derive(Debug, Default)]
pub struct Chunks {
    /// Bytes of the present chunk that are still to come.
    left: usize,
    /// What has come of a line between two chunks.
    line: String,
    /// Whether the chunk that ends the body has come.
    last: bool,
}

impl Chunks {
    /// Takes `bytes`, and gives what is of the body to `sink`. Returns whether the body is complete.
    pub fn take(&mut self, mut bytes: &[u8], mut sink: impl FnMut(&[u8])) -> anyhow::Result<bool> {
        while let Some(&byte) = bytes.first() {
            if self.left > 0 {
                let (chunk, rest) = bytes.split_at(self.left.min(bytes.len()));
                sink(chunk);
                self.left -= chunk.len();
                bytes = rest;
                continue;
            }
            bytes = &bytes[1..];
            if byte != b'\n' {
                self.line.push(byte.into());
            } else if self.end_line()? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A line is empty where a chunk, or all of them, have ended; else it is the size of the next.
    fn end_line(&mut self) -> anyhow::Result<bool> {
        let line = std::mem::take(&mut self.line);
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(self.last);
        }
        self.left = usize::from_str_radix(line, 16).context("reading the size of a chunk")?;
        self.last = self.left == 0;
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_put_together_however_it_is_cut() {
        let wire = b"5\r\nhello\r\nb\r\n, \r\n\r\nworld\r\n0\r\n\r\n";
        for cut in 1..wire.len() {
            let (mut chunks, mut body) = (Chunks::default(), Vec::new());
            let mut sink = |chunk: &[u8]| body.extend_from_slice(chunk);
            assert!(!chunks.take(&wire[..cut], &mut sink).unwrap(), "{cut}");
            assert!(chunks.take(&wire[cut..], &mut sink).unwrap(), "{cut}");
            assert_eq!(body, b"hello, \r\n\r\nworld");
        }
        assert!(Chunks::default().take(b"many\r\n", |_| ()).is_err());
    }
}
