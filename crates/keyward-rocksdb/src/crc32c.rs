//! The checksum of the log.

/// CRC-32C, turned round as the log keeps it, so that a checksum over bytes that hold a checksum
/// stays a good one.
pub fn masked_crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, &byte: &u8| CRC32C[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8);
    let crc = !bytes.iter().fold(!0, step);
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The remainder of each byte, by the reversed Castagnoli polynomial.
const CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte: u32 = 0;
    while byte < 256 {
        let mut remainder = byte;
        let mut bit = 0;
        while bit < 8 {
            let odd = remainder & 1 == 1;
            remainder = (remainder >> 1) ^ if odd { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[byte as usize] = remainder;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of CRC-32C over `123456789` is `e3069283` in the catalogue of parametrised
    /// CRC algorithms.
    #[test]
    fn the_checksum_is_crc32c() {
        let unmasked = masked_crc32c(b"123456789").wrapping_sub(0xa282_ead8).rotate_left(15);
        assert_eq!(unmasked, 0xe306_9283);
    }
}
