//! The models' patterns are Java's; this rewrites them for Rust's engine, which is linear in the text it reads.

use regex::{Regex, RegexBuilder};

/// Compiled patterns larger than this are not worth their memory; the largest real one needs a twentieth of it.
const MAX_COMPILED_BYTES: usize = 8 << 20;

/// Patterns that look ahead, and what they come to without.
const REWRITTEN: &[(&str, &str)] = &[
    (r"^(?!\s*$).+", r".*\S.*"),
    // Aliases of accounts, of which there are none: that no two dashes stand together is left out.
    (r"^[a-z0-9]([a-z0-9]|-(?!-)){1,61}[a-z0-9]$", r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]"),
    // Cloud Map's: that a name is no ARN, and how long it may be as a whole, is for its room to say.
    (r"^(?!arn:)[!-~]{1,1024}$", r"[!-~]{1,1024}"),
    (r"^(?!arn:)[!-~]{1,253}$", r"[!-~]{1,253}"),
    (
        r"((?=^.{1,127}$)^([a-zA-Z0-9_][a-zA-Z0-9-_]{0,61}[a-zA-Z0-9_]|[a-zA-Z0-9])(\.([a-zA-Z0-9_][a-zA-Z0-9-_]{0,61}[a-zA-Z0-9_]|[a-zA-Z0-9]))*$)|(^\.$)",
        r"([a-zA-Z0-9_][a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_]|[a-zA-Z0-9])(\.([a-zA-Z0-9_][a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_]|[a-zA-Z0-9]))*|\.",
    ),
];

/// Compiles a model's pattern to match the whole text, as Java's `String.matches` does.
pub(crate) fn compile(source: &str) -> Option<Regex> {
    let rewritten = REWRITTEN.iter().find(|(from, _)| *from == source).map_or(source, |(_, to)| to);
    RegexBuilder::new(&format!(r"\A(?:{})\z", translate(rewritten))).size_limit(MAX_COMPILED_BYTES).build().ok()
}

/// Java's `\w`, `\d` and `\s` are ASCII, a bare `[` inside a class is literal to AWS's authors, and characters beyond the
/// basic plane are written as surrogate pairs.
fn translate(source: &str) -> String {
    let source = source.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\x{10000}-\x{10FFFF}");
    let mut out = String::with_capacity(source.len());
    let mut class_at = None;
    let mut chars = source.chars().peekable();
    while let Some(c) = chars.next() {
        let first_in_class = class_at == Some(out.len());
        match c {
            '\\' => {
                let escaped = chars.next().unwrap_or('\\');
                let ascii = match escaped {
                    'w' => Some("[:word:]"),
                    'd' => Some("[:digit:]"),
                    's' => Some("[:space:]"),
                    _ => None,
                };
                match (ascii, class_at.is_some()) {
                    (Some(class), true) => out.push_str(class),
                    (Some(class), false) => out.extend(["[", class, "]"]),
                    (None, _) => out.extend(['\\', escaped]),
                }
            }
            '[' if class_at.is_some() && chars.peek() != Some(&':') => out.push_str(r"\["),
            '[' if class_at.is_none() => {
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                class_at = Some(out.len());
            }
            ']' if class_at.is_some() && !first_in_class => {
                out.push(']');
                class_at = None;
            }
            // `[\w-_]`: a dash after a class shorthand is itself, which Rust wants escaped.
            '-' if out.ends_with(":]") => out.push_str(r"\-"),
            '&' | '~' if class_at.is_some() => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn the_models_dialect_is_understood() {
        let check = |pattern: &str, text: &str, matches: bool| {
            let regex = compile(pattern).expect(pattern);
            assert_eq!(regex.is_match(text), matches, "{pattern} on {text:?}");
        };
        check(r"[\.\-_/#A-Za-z0-9]+", "/ecs/web-1", true);
        check(r"[\.\-_/#A-Za-z0-9]+", "/ecs/web 1", false);
        check(r"[\w-_]*", "a-b_c", true);
        check(r"[\w]*", "é", false);
        check(r"[^:*]*", "a/b", true);
        check(r"[^:*]*", "a:b", false);
        check(r"^\d+\.\d+(\.\d+)?$", "1.0.3", true);
        check(r"^\d+\.\d+(\.\d+)?$", "1.x", false);
        check(r"([\p{L}\p{Z}\p{N}_.:/=+\-@]*)", "Größe 1", true);
        check(r"[\u0020-\uD7FF\uE000-\uFFFD\uD800\uDC00-\uDBFF\uDFFF\r\n\t]*", "a\u{1F600}\n", true);
        check(r"[!-\[\]a&&b]*", "[&b]", true);
        check("a|b", "ab", false);
        check(r"^(?!\s*$).+", " a ", true);
        check(r"^(?!\s*$).+", "   ", false);
    }

    #[test]
    fn look_around_is_left_out() {
        assert!(compile("^(?!aws:).*$").is_none());
    }
}
