//! Looking for libclang where the generator of `RocksDB`'s bindings will look for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::workspace::{self, entries};

/// The directories in which the generator looks, as patterns.
const PATTERNS: [&str; 10] = [
    "/usr/local/llvm*/lib*",
    "/usr/local/lib*/*/*",
    "/usr/local/lib*/*",
    "/usr/local/lib*",
    "/usr/lib*/*/*",
    "/usr/lib*/*",
    "/usr/lib*",
    "/usr/local/opt/llvm*/lib",
    "/Library/Developer/CommandLineTools/usr/lib",
    "/Applications/Xcode.app/Contents/Developer/Toolchains/XcodeDefault.xctoolchain/usr/lib",
];

/// Whether the library is there, and what it reads itself: its own `stddef.h` and the like, which
/// Debian has in another package. A `clang` on the path knows where these are.
pub fn is_there() -> bool {
    let places = places();
    let library = match std::env::var_os("LIBCLANG_PATH").map(PathBuf::from) {
        Some(path) if path.is_file() => true,
        Some(directory) => holds_library(&directory),
        None => places.iter().any(|place| holds_library(place)),
    };
    let headers = || {
        std::env::var_os("BINDGEN_EXTRA_CLANG_ARGS").is_some()
            || workspace::find_program("clang").is_some()
            || places.iter().any(|place| holds_headers(place))
    };
    library && headers()
}

fn holds_library(directory: &Path) -> bool {
    let names = entries(directory);
    names
        .iter()
        .filter_map(|file| file.file_name())
        .any(|name| is_libclang(&name.to_string_lossy()))
}

fn holds_headers(directory: &Path) -> bool {
    entries(&directory.join("clang"))
        .iter()
        .any(|version| version.join("include/stddef.h").is_file())
}

/// Where to look, the likeliest places first.
fn places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = llvm_prefix()
        .into_iter()
        .flat_map(|prefix| [prefix.join("lib"), prefix.join("lib64")])
        .collect();
    for variable in ["LIBCLANG_PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH"] {
        if let Some(path) = std::env::var_os(variable) {
            places.extend(std::env::split_paths(&path));
        }
    }
    places.extend(PATTERNS.iter().flat_map(|pattern| expand(pattern)));
    places
}

fn llvm_prefix() -> Option<PathBuf> {
    let program = std::env::var_os("LLVM_CONFIG_PATH").unwrap_or_else(|| "llvm-config".into());
    let output = Command::new(program).arg("--prefix").stderr(Stdio::null()).output().ok()?;
    let prefix = String::from_utf8(output.stdout).ok()?;
    (!prefix.trim().is_empty()).then(|| PathBuf::from(prefix.trim()))
}

/// `libclang.so`, `libclang-14.so`, `libclang.so.1`, `libclang-14.so.13`, `libclang.dylib`; not
/// the C++ library beside it, whose name begins alike.
fn is_libclang(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("libclang") else { return false };
    let version = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-');
    rest == ".dylib"
        || rest.split_once(".so").is_some_and(|(before, after)| version(before) && version(after))
}

/// The directories that match a pattern in which `*` stands for any part of one name.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        found = match part.split_once('*') {
            None => found.into_iter().map(|directory| directory.join(part)).collect(),
            Some((before, after)) => found
                .iter()
                .flat_map(|directory| entries(directory))
                .filter(|path| {
                    path.file_name().map(|name| name.to_string_lossy()).is_some_and(|name| {
                        name.strip_prefix(before).is_some_and(|rest| rest.ends_with(after))
                    })
                })
                .collect(),
        };
    }
    found.retain(|directory| directory.is_dir());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_c_library_is_told_from_the_cpp_library() {
        for name in ["libclang.so", "libclang-14.so", "libclang.so.1", "libclang-14.so.14.0.6"] {
            assert!(is_libclang(name), "{name}");
        }
        assert!(is_libclang("libclang.dylib"));
        for name in ["libclang-cpp.so.14", "libclangAST.a", "libclang-14.a", "libc.so"] {
            assert!(!is_libclang(name), "{name}");
        }
    }

    #[test]
    fn a_pattern_names_directories_only() {
        assert_eq!(expand("/u*r"), [PathBuf::from("/usr")]);
        assert!(expand("/etc/hostnam*").is_empty());
    }
}
