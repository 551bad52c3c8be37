//! A command as one line of text.

/// Splits as a shell does, knowing quotes and backslashes and nothing else; `None` if a quote stays open.
pub fn split(line: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut started) = (Vec::new(), String::new(), false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => {
                started = true;
                loop {
                    match chars.next()? {
                        '\'' => break,
                        other => word.push(other),
                    }
                }
            }
            '"' => {
                started = true;
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            escaped @ ('"' | '\\' | '$' | '`') => word.push(escaped),
                            other => word.extend(['\\', other]),
                        },
                        other => word.push(other),
                    }
                }
            }
            '\\' => {
                started = true;
                word.push(chars.next()?);
            }
            c if c.is_whitespace() => {
                if started {
                    words.push(std::mem::take(&mut word));
                }
                started = false;
            }
            other => {
                started = true;
                word.push(other);
            }
        }
    }
    if started {
        words.push(word);
    }
    Some(words)
}

/// A word as it must be written to be split off again.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "@%+=:,./_-".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_splits_as_a_shell_splits_it() {
        for (line, words) in [
            ("echo hi", Some(vec!["echo", "hi"])),
            ("sh -c 'a b; c \"d\"'", Some(vec!["sh", "-c", "a b; c \"d\""])),
            (r#"a "b \"c\" \n" d\ e"#, Some(vec!["a", "b \"c\" \\n", "d e"])),
            ("  ", Some(vec![])),
            ("''", Some(vec![""])),
            ("a 'b", None),
        ] {
            assert_eq!(split(line), words.map(|w| w.into_iter().map(str::to_owned).collect::<Vec<_>>()), "{line}");
        }
    }
    #[test]
    fn what_is_quoted_is_split_into_the_same() {
        for word in ["ls", "", "a b", "it's", r#""\$"#, "-l"] {
            assert_eq!(split(&quoted(word)), Some(vec![word.to_owned()]), "{word}");
        }
        assert_eq!((quoted("/bin/sh"), quoted("a b")), ("/bin/sh".to_owned(), "'a b'".to_owned()));
    }
}
