//! The terminal under standard output: how wide it is, and tables that fit it.
//!
//! Where there is no terminal, in a pipe or a file, nothing is cut and nothing coloured: whoever reads there wants all of it.
//! What is shown comes from containers and registries too, so control characters never reach the terminal (`shown`).

use super::shown::{colourless, guarded, is_obeyed};
use anyhow::{Context, Result};
use console::{Style, Term, measure_text_width, truncate_str};
use std::{borrow::Cow, io::Write};

/// Columns are not cut below this: an ellipsis with a few letters on each side can still be told from its neighbours.
const NARROWEST: usize = 9;
/// Sentences are not cut below this before names are.
const NARROWEST_SENTENCE: usize = 30;
/// Names, in the first column, are not cut below this before others are: an instance's id is 19 long.
const NARROWEST_NAME: usize = 19;
/// Between two columns, as Go's tabwriter has it in the original.
const GAP: usize = 2;

/// Columns of the terminal, if there is one. COLUMNS counts more than what the terminal says of itself.
#[allow(clippy::disallowed_methods)] // COLUMNS is no configuration of ours, so clap does not read it.
pub(crate) fn width() -> Option<usize> {
    let (_, columns) = Term::stdout().size_checked()?;
    let asked = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    Some(asked.unwrap_or(usize::from(columns)).max(NARROWEST))
}

/// Rows of the terminal, if there is one.
pub(crate) fn height() -> Option<usize> {
    Term::stdout().size_checked().map(|(rows, _)| usize::from(rows))
}

/// A cell: its text, and how it looks where colours are shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, style: Style::new() }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// The text on one line, without colours and without anything a terminal would obey.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    if text.contains(is_obeyed) {
        let text = colourless(text);
        let words = text.split(is_obeyed).filter(|part| !part.is_empty());
        return Cow::Owned(words.collect::<Vec<_>>().join(" "));
    }
    Cow::Borrowed(text)
}

/// The text in at most `width` columns. Of a name both ends are kept, because names differ there; of a sentence its beginning.
pub(crate) fn cut(text: &str, width: usize) -> Cow<'_, str> {
    if measure_text_width(text) <= width {
        return Cow::Borrowed(text);
    }
    if width < NARROWEST || text.contains(' ') || !text.is_ascii() {
        return truncate_str(text, width, "…");
    }
    let head = (width - 1).div_ceil(2);
    let tail = width - 1 - head;
    Cow::Owned(format!("{}…{}", &text[..head], &text[text.len() - tail..]))
}

/// The lines of a table, its columns cut to `width` if there is one, the widest first. No rows, no lines.
pub(crate) fn table(header: &[&str], rows: &[Vec<Cell>], width: Option<usize>) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let rows: Vec<Vec<(Cow<'_, str>, &Style)>> =
        rows.iter().map(|row| row.iter().map(|cell| (harmless(&cell.text), &cell.style)).collect()).collect();
    let content = |at: usize| {
        rows.iter().filter_map(|row| row.get(at)).map(|(text, _)| measure_text_width(text)).max().unwrap_or(0)
    };
    let columns = header.iter().enumerate().map(|(at, name)| (content(at), measure_text_width(name)));
    let widths = narrow(&columns.collect::<Vec<_>>(), width);
    let (plain, bold) = (Style::new(), Style::new().bold());
    let line = |cells: &mut dyn Iterator<Item = (&str, &Style)>| {
        let mut text = String::new();
        let mut pad = 0;
        for ((cell, style), column) in cells.zip(&widths) {
            text.extend(std::iter::repeat_n(' ', pad));
            let cell = cut(cell, *column);
            pad = column + GAP - measure_text_width(&cell);
            text.push_str(&style.apply_to(cell).to_string());
        }
        match width {
            Some(width) => truncate_str(text.trim_end(), width, "…").into_owned(),
            None => text.trim_end().to_owned(),
        }
    };
    // Bold shows nothing where there are no colours, and a header without rows is never printed.
    let header_style = if width.is_some() { &bold } else { &plain };
    let mut lines = vec![line(&mut header.iter().map(|name| (*name, header_style)))];
    lines.extend(rows.iter().map(|row| line(&mut row.iter().map(|(text, style)| (text.as_ref(), *style)))));
    lines
}

/// The widths of columns, whose contents and headers are that wide, so that a row fits. What says least is cut first: headers
/// longer than what is below them, then long sentences, then the names in the first column, then whatever is widest.
fn narrow(columns: &[(usize, usize)], width: Option<usize>) -> Vec<usize> {
    let mut widths: Vec<usize> = columns.iter().map(|(content, header)| *content.max(header)).collect();
    let Some(width) = width else { return widths };
    let gaps = GAP * widths.len().saturating_sub(1);
    let excess = |widths: &[usize]| (widths.iter().sum::<usize>() + gaps).saturating_sub(width);
    for (at, (content, _)) in columns.iter().enumerate() {
        let least = (*content).max(NARROWEST).min(widths[at]);
        widths[at] -= excess(&widths).min(widths[at] - least);
    }
    let mut take = |from: std::ops::Range<usize>, least: usize| {
        while excess(&widths) > 0 {
            match widths[from.clone()].iter_mut().max() {
                Some(widest) if *widest > least => *widest -= 1,
                Some(_) | None => break,
            }
        }
    };
    take(1..columns.len(), NARROWEST_SENTENCE);
    take(0..1, NARROWEST_NAME);
    take(0..columns.len(), NARROWEST);
    widths
}

/// The line, cut at its end to `width` if there is one.
pub(crate) fn fit(line: &str, width: Option<usize>) -> String {
    match width {
        Some(width) => truncate_str(line, width, "…").into_owned(),
        None => line.to_owned(),
    }
}

/// What to do next, below what it is about. It is never cut: it is there to be copied.
pub(crate) fn advised(next: &str, width: Option<usize>) -> Vec<String> {
    let lines = wrap(&format!("→ {next}"), width.map(|w| w.saturating_sub(4).max(20)));
    lines.into_iter().map(|line| format!("    {line}")).collect()
}

/// Breaks between words; what goes on is indented.
pub(crate) fn wrap(text: &str, width: Option<usize>) -> Vec<String> {
    let Some(width) = width else { return vec![text.to_owned()] };
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if measure_text_width(line) + 1 + measure_text_width(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) => lines.push(format!("  {word}")),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// How much of `total` there is, `cells` wide.
pub(crate) fn bar(done: i64, total: i64, cells: usize) -> String {
    let whole = i64::try_from(cells).unwrap_or(i64::MAX);
    let filled = if total <= 0 { 0 } else { (done.clamp(0, total) * whole / total).clamp(0, whole) };
    let filled = usize::try_from(filled).unwrap_or_default();
    format!("[{}{}]", "=".repeat(filled), " ".repeat(cells - filled))
}

/// Over the last screen, line by line, so that nothing flickers.
pub(crate) fn redraw(mut lines: Vec<String>) -> Result<()> {
    let rows = height().and_then(|rows| rows.checked_sub(1)).context("the terminal has no size")?;
    lines.truncate(rows);
    let mut text = String::from("\u{1b}[H");
    for line in lines {
        text.push_str(&guarded(&line));
        text.push_str("\u{1b}[K\n");
    }
    text.push_str("\u{1b}[J");
    let mut to = Term::stdout();
    to.write_all(text.as_bytes())?;
    Ok(to.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(header: &[&str], rows: &[&[&str]], width: Option<usize>) -> Vec<String> {
        let rows: Vec<Vec<Cell>> = rows.iter().map(|row| row.iter().map(|cell| Cell::from(*cell)).collect()).collect();
        table(header, &rows, width).iter().map(|line| console::strip_ansi_codes(line).into_owned()).collect()
    }

    #[test]
    fn a_table_fits_the_width_it_is_given_and_is_whole_without_one() {
        const NAME: &str = "default/0123456789abcdef0123456789abcdef/web";
        const REASON: &str = "STOPPED Reason: CannotPullContainerError: no such image in the registry";
        let header = ["Name", "State", "Ports"];
        let rows: [&[&str]; 2] = [&[NAME, REASON, ""], &["default/ff/app", "RUNNING", "10.0.0.1:80->80/tcp"]];
        let whole = lines(&header, &rows, None);
        assert!(whole[1].starts_with(&format!("{NAME}  {REASON}")), "{whole:#?}");
        assert_eq!(whole[0].trim_end(), whole[0], "no trailing blanks");
        for width in [20, 40, 80, 120, 300] {
            let cut = lines(&header, &rows, Some(width));
            assert_eq!(cut.len(), 3);
            for line in &cut {
                assert!(measure_text_width(line) <= width, "{width}: {line}");
            }
        }
        let at_80 = lines(&header, &rows, Some(80));
        assert!(
            at_80[1].starts_with("default/01234…789abcdef/web  STOPPED Reason: CannotPullCon…"),
            "names keep both ends: {}",
            at_80[1]
        );
        assert!(at_80[2].ends_with("  10.0.0.1:80->80/tcp"), "what is short stays whole: {}", at_80[2]);
        assert_eq!(lines(&header, &rows, Some(300)), whole, "what fits is not cut");
    }

    #[test]
    fn nothing_is_printed_without_rows_and_nothing_is_obeyed() {
        assert_eq!(lines(&["Name"], &[], Some(80)), Vec::<String>::new());
        let evil = lines(&["Name", "Why"], &[&["a", "\u{1b}[2Jgone\r\nand\tmore\u{7}\u{1b}[8mhidden"]], None);
        assert_eq!(evil, ["Name  Why", "a     [2Jgone and more hidden"]);
    }

    #[test]
    fn bars() {
        for (done, total, expected) in [
            (0, 4, "[    ]"),
            (1, 4, "[=   ]"),
            (4, 4, "[====]"),
            (9, 4, "[====]"),
            (1, 0, "[    ]"),
            (-1, 2, "[    ]"),
        ] {
            assert_eq!(bar(done, total, 4), expected, "{done} of {total}");
        }
    }

    #[test]
    fn cuts() {
        for (text, width, expected) in [
            ("short", 9, "short"),
            ("0123456789abcdef", 9, "0123…cdef"),
            ("0123456789abcdef", 10, "01234…cdef"),
            ("two words here", 9, "two word…"),
            ("0123456789abcdef", 5, "0123…"),
            ("ÄÖÜäöüß→→→→", 9, "ÄÖÜäöüß→…"),
        ] {
            assert_eq!(cut(text, width), expected, "{text} in {width}");
        }
    }
}
