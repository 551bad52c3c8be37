//! Files that a command is given, read whole and within bounds, and files of variables.

use anyhow::{Context, Result, anyhow, bail};
use std::{fs::File, io::Read, path::Path};

/// Largest file that is read: no file that people write for these commands comes near it.
const MAX_FILE: u64 = 4 << 20;

/// The text of a file. A device or a pipe has no size to ask for, so that what is read is counted.
pub(super) fn text(path: &Path) -> Result<String> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() as u64 > MAX_FILE {
        bail!("{} is larger than 4 MiB, and a file of this kind is not", path.display());
    }
    String::from_utf8(bytes).map_err(|_| anyhow!("{} is not a text in UTF-8", path.display()))
}

/// Names with their values; a name without `=` has none.
pub(super) type Pairs = Vec<(String, Option<String>)>;

/// A file of `env_file`: lines of `NAME=value`; blank ones and comments are passed over. AWS: as Docker reads it, which takes the value
/// as it stands, quotes and blanks too, and refuses what a shell would read and Docker does not, such as `export NAME=value`.
pub(super) fn env_file(path: &Path) -> Result<Pairs> {
    variables(path, |line| line)
}

/// The `.env` of a project's folder, where `export` and quotes may stand, as other tools take them.
pub(super) fn dotenv(path: &Path) -> Result<Pairs> {
    let pairs = variables(path, |line| line.strip_prefix("export ").map_or(line, str::trim_start))?;
    let unquoted = |value: String| {
        let value = value.trim();
        let inner = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
        inner('"').or_else(|| inner('\'')).unwrap_or(value).to_owned()
    };
    Ok(pairs.into_iter().map(|(name, value)| (name, value.map(unquoted))).collect())
}

fn variables(path: &Path, clean: impl Fn(&str) -> &str) -> Result<Pairs> {
    let text = text(path)?;
    let mut pairs = Vec::new();
    for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = clean(line);
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line.trim_end(), None),
        };
        let wrong = |what: String| anyhow!("{}, line {}: poorly formatted environment: {what}", path.display(), at + 1);
        if name.is_empty() {
            return Err(wrong(format!("no variable name on line '{line}'")));
        }
        if name.contains(char::is_whitespace) {
            return Err(wrong(format!("variable '{name}' contains whitespaces; write NAME=value")));
        }
        pairs.push((name.to_owned(), value));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn variables_are_read_as_docker_reads_them() {
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("a.env");
        let read = |text: &str, reader: fn(&Path) -> Result<Pairs>| {
            fs::write(&path, text).unwrap();
            reader(&path).map_err(|error| error.to_string().replace(&path.display().to_string(), "a.env"))
        };
        let pair = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        let text = "\u{feff}# which\r\n\r\n  A=b c \r\nB\r\nC=\"q\"\r\nD=\r\nE=a=b";
        let wanted = vec![
            pair("A", Some("b c ")),
            pair("B", None),
            pair("C", Some("\"q\"")),
            pair("D", Some("")),
            pair("E", Some("a=b")),
        ];
        assert_eq!(read(text, env_file), Ok(wanted));
        let quoted = vec![pair("A", Some("b")), pair("B", Some("1 2"))];
        assert_eq!(read("export A=b \nB='1 2'\n", dotenv), Ok(quoted));
        let begin = "a.env, line 2: poorly formatted environment: ";
        for (text, reader, words) in [
            ("A=1\nexport B=2", env_file as fn(&Path) -> Result<Pairs>, "variable 'export B' contains whitespaces"),
            ("A=1\nexport B", env_file, "variable 'export B' contains whitespaces"),
            ("A=1\n=x", env_file, "no variable name on line '=x'"),
            ("A=1\nB C=x", dotenv, "variable 'B C' contains whitespaces"),
        ] {
            let error = read(text, reader).unwrap_err();
            assert!(error.starts_with(&format!("{begin}{words}")), "{error}");
        }
    }

    #[test]
    fn no_more_is_read_than_a_file_may_have() {
        let error = text(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(error.contains("larger than 4 MiB"), "{error}");
        let dir = tempfile::TempDir::new().unwrap();
        let path = dir.path().join("f");
        for (bytes, fine) in [(MAX_FILE, true), (MAX_FILE + 1, false)] {
            fs::write(&path, " ".repeat(usize::try_from(bytes).unwrap())).unwrap();
            assert_eq!(text(&path).is_ok(), fine, "{bytes}");
        }
        fs::write(&path, [0xff]).unwrap();
        assert!(text(&path).unwrap_err().to_string().contains("UTF-8"));
    }
}
