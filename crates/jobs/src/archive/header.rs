//! One header of a tar: 512 bytes in the form that Offtake writes, and no other.

/// What a tar is made of.
pub(super) const BLOCK: usize = 512;

/// Where the type of a member is.
const TYPE_AT: usize = 156;

/// The name's field; ustar's prefix is not used.
const NAME_BYTES: usize = 100;

/// The header of a regular file. The name is a [`Name`](super::Name), which fits.
pub(super) fn of_file(name: &str, size: usize) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(TYPE_AT, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// The bytes up to the next block.
pub(super) fn padding(size: usize) -> usize {
    size.next_multiple_of(BLOCK) - size
}

/// The name in a header, and the size that it says. None: no name or size can be read.
pub(super) fn name_and_size(header: &[u8; BLOCK]) -> Option<(&str, u64)> {
    let field = &header[..NAME_BYTES];
    let end = field.iter().position(|byte| *byte == 0)?;
    let name = std::str::from_utf8(&field[..end]).ok()?;
    let digits = std::str::from_utf8(&header[124..135]).ok()?;
    Some((name, u64::from_str_radix(digits, 8).ok()?))
}

/// What a member is that is no regular file; None: it says that it is one.
pub(super) fn kind(header: &[u8; BLOCK]) -> Option<&'static str> {
    Some(match header[TYPE_AT] {
        b'0' => return None,
        b'1' => "a hard link",
        b'2' => "a symbolic link",
        b'3' | b'4' => "a device",
        b'5' => "a folder",
        b'6' => "a pipe",
        b'x' | b'g' => "a PAX extension",
        b'K' | b'L' | b'S' | b'D' | b'M' | b'V' => "a GNU extension",
        _ => "of an unknown type",
    })
}
