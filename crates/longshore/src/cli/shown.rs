//! What a terminal is shown of texts that others wrote: containers, whoever names or stops something, registries, the server's errors.
//!
//! A terminal obeys what it is sent. A line of output could clear the screen, move up and write over what stands there, change the
//! window's title or have the terminal type. So nothing of that kind reaches one. Two walls: `say` and `terminal::redraw`, the only
//! ways to a terminal, let nothing through but text, newlines, tabs and colours ([`guarded`]), because our own lines have colours;
//! and what others wrote is made text before it comes into such a line ([`plain`], `terminal::harmless`).
//!
//! Others' colours are left out. With them a text can be there and not be seen, and be copied along with what stands around it; red
//! and green mean something on our own screens; and programs whose output is no terminal hardly write any. A pipe or a file gets the
//! bytes as they are, so `longshore logs … | less -R` has the colours.

use std::borrow::Cow;

/// Whether a terminal obeys it, or shows what stands around it in another order than it was written in.
pub(super) fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// How long the sequence is that chooses colours and nothing else, if the text begins with one. ECMA-48 calls it SGR.
fn colour(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|c: char| !matches!(c, '0'..='9' | ';' | ':'))?;
    parameters[end..].starts_with('m').then_some("\u{1b}[".len() + end + 1)
}

/// The text with all that is obeyed made visible: `^[` for an escape, as `cat -v` has it, and what has no such sign as JSON does, so that
/// JSON stays JSON. Newlines and tabs stay, also a newline of two characters as a container with a terminal writes it.
fn visible(text: &str, colours: bool) -> Cow<'_, str> {
    if !text.contains(|c| is_obeyed(c) && c != '\n' && c != '\t') {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        if let Some(length) = colour(rest) {
            taken = length;
            if colours {
                shown.push_str(&rest[..length]);
            }
        } else if c == '\r' && matches!(rest.as_bytes().get(1), None | Some(b'\n')) {
            // The end of a line.
        } else if !is_obeyed(c) || c == '\n' || c == '\t' {
            shown.push(c);
        } else if c < ' ' {
            shown.push('^');
            shown.push(char::from(b'@' + c as u8));
        } else {
            shown.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
        rest = &rest[taken..];
    }
    Cow::Owned(shown)
}

/// A line of ours for a terminal: text, newlines, tabs and colours.
pub(super) fn guarded(line: &str) -> Cow<'_, str> {
    visible(line, true)
}

/// A text of somebody else's for a terminal: text, newlines and tabs.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    visible(text, false)
}

/// The text with the sequences left out that choose colours.
pub(super) fn colourless(text: &str) -> Cow<'_, str> {
    let Some(first) = text.find('\u{1b}') else { return Cow::Borrowed(text) };
    let (mut kept, mut rest) = (text[..first].to_owned(), &text[first..]);
    while let Some(c) = rest.chars().next() {
        let length = colour(rest);
        if length.is_none() {
            kept.push(c);
        }
        rest = &rest[length.unwrap_or(c.len_utf8())..];
    }
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_is_given_nothing_to_obey() {
        for (text, line, others) in [
            ("as it is: äöü €\n\tand on", "as it is: äöü €\n\tand on", "as it is: äöü €\n\tand on"),
            ("\u{1b}[1;31mred\u{1b}[0m", "\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{1b}[38:5:1mred\u{1b}[m", "\u{1b}[38:5:1mred\u{1b}[m", "red"),
            ("\u{1b}[2J\u{1b}[Hgone", "^[[2J^[[Hgone", "^[[2J^[[Hgone"),
            ("\u{1b}]0;title\u{7}", "^[]0;title^G", "^[]0;title^G"),
            ("\u{1b}[?25m\u{1b}[>4m", "^[[?25m^[[>4m", "^[[?25m^[[>4m"),
            ("\u{1b}[31", "^[[31", "^[[31"),
            ("\u{1b}", "^[", "^["),
            ("\u{9b}2J\u{7f}\0", "\\u009b2J\\u007f^@", "\\u009b2J\\u007f^@"),
            ("over\rwritten", "over^Mwritten", "over^Mwritten"),
            ("a\r\nb\r", "a\nb", "a\nb"),
            ("a\u{8}\u{8}b\u{b}", "a^H^Hb^K", "a^H^Hb^K"),
            ("exe\u{202e}txt.\u{2066}", "exe\\u202etxt.\\u2066", "exe\\u202etxt.\\u2066"),
        ] {
            assert_eq!((guarded(text).as_ref(), plain(text).as_ref()), (line, others), "{text:?}");
        }
    }

    #[test]
    fn json_stays_json() {
        let text =
            serde_json::to_string_pretty(&serde_json::json!({"why": "\u{9b}2J\u{1b}[31m\u{202e}\u{7f}"})).unwrap();
        let shown = guarded(&text);
        assert!(!shown.contains(|c| is_obeyed(c) && c != '\n'), "{shown:?}");
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&shown), read(&text));
    }

    #[test]
    fn colours_are_left_out_and_nothing_else() {
        for (text, wanted) in [
            ("plain", "plain"),
            ("\u{1b}[31mred\u{1b}[0m and \u{1b}[2J", "red and \u{1b}[2J"),
            ("\u{1b}\u{1b}[1mä", "\u{1b}ä"),
        ] {
            assert_eq!(colourless(text), wanted);
        }
    }
}
