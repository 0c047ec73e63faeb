//! Text for a terminal: rows in columns, their details as indented lines, nothing wider than the
//! terminal.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

/// Width where none is known, as in a pipe.
const DEFAULT_WIDTH: usize = 100;
/// Least width: narrower terminals break lines themselves.
const MIN_WIDTH: usize = 40;
/// Indentation of details.
const DETAIL: usize = 4;

/// The terminal's width, else that of `COLUMNS`, else 100.
pub(super) fn terminal_width() -> usize {
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    let width = Table::new().width().map(usize::from).or_else(columns);
    width.unwrap_or(DEFAULT_WIDTH).max(MIN_WIDTH)
}

/// Rows with a title and a header.
#[derive(Debug, Default)]
pub(super) struct Grid {
    pub(super) title: String,
    /// Names of the columns. What ends in a space is a number: aligned to the right.
    pub(super) header: Vec<&'static str>,
    pub(super) rows: Vec<GridRow>,
}

/// A row: what stands in its columns, and the lines below.
#[derive(Debug, Default)]
pub(super) struct GridRow {
    pub(super) cells: Vec<String>,
    pub(super) details: Vec<String>,
}

/// Title, header and rows.
pub(super) fn grid(grid: &Grid, width: usize) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(grid.header.iter().map(|name| name.trim_end()));
    for row in &grid.rows {
        table.add_row(row.cells.iter().map(|cell| clean(cell)));
    }
    for (column, name) in table.column_iter_mut().zip(&grid.header) {
        column.set_padding((0, 2));
        if name.ends_with(' ') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut out = fold(&grid.title, width, 0);
    let mut lines = table.lines();
    out.extend(lines.next().into_iter().flat_map(|header| fold(header.trim_end(), width, 2)));
    for (line, row) in lines.zip(&grid.rows) {
        out.extend(fold(line.trim_end(), width, 2));
        out.extend(row.details.iter().flat_map(|detail| fold(&clean(detail), width, DETAIL)));
    }
    out.join("\n")
}

/// A text in lines of at most this width, broken between words where that can be. The first line is
/// indented by so much, the others by two more. A link is never broken: it is there to be copied.
pub(super) fn fold(text: &str, width: usize, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest: Vec<char> = text.chars().collect();
    let mut indent = indent;
    loop {
        let room = width.saturating_sub(indent).max(1);
        if rest.len() <= room || is_link(&rest) {
            lines.push(format!("{:indent$}{}", "", String::from_iter(&rest)).trim_end().to_owned());
            return lines;
        }
        // Not before the first word: an indented line is never empty.
        let words_begin = rest.iter().take_while(|c| **c == ' ').count();
        let space = rest[..=room].iter().rposition(|c| *c == ' ').filter(|at| *at > words_begin);
        let at = space.unwrap_or(room);
        let line = String::from_iter(&rest[..at]);
        lines.push(format!("{:indent$}{}", "", line).trim_end().to_owned());
        rest.drain(..at);
        let spaces = rest.iter().take_while(|c| **c == ' ').count();
        rest.drain(..spaces);
        if lines.len() == 1 {
            indent += 2;
        }
    }
}

fn is_link(text: &[char]) -> bool {
    !text.contains(&' ') && String::from_iter(text).contains("://")
}

/// Without what could steer a terminal: texts come from Stripe's metadata.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_long_words_anywhere() {
        assert_eq!(fold("one two three", 9, 0), ["one two", "  three"]);
        assert_eq!(fold("one two", 20, 4), ["    one two"]);
        assert_eq!(fold("abcdefghij", 6, 0), ["abcdef", "  ghij"]);
        assert_eq!(
            fold("one abcdefghij", 6, 2),
            ["  one", "    ab", "    cd", "    ef", "    gh", "    ij"]
        );
        assert_eq!(fold("", 6, 2), [""]);
        assert_eq!(fold("https://long.test/x", 6, 2), ["  https://long.test/x"]);
        assert_eq!(fold("see s3://bucket/key", 6, 0), ["see", "  s3://bucket/key"]);
        for width in 1..30 {
            let text = "a bc def ghij klmno pqrstu vwxyzab";
            let folded = fold(text, width, 0);
            let room = width.max(3);
            assert!(folded.iter().all(|line| line.chars().count() <= room), "{width}: {folded:?}");
            let letters = |text: &str| text.replace(' ', "");
            assert_eq!(letters(&folded.concat()), letters(text));
        }
    }

    #[test]
    fn rows_stand_in_columns_with_their_details_below() {
        let rows = vec![
            GridRow {
                cells: vec!["ch_1".into(), "12.50 USD".into()],
                details: vec!["one detail".into()],
            },
            GridRow { cells: vec!["ch_22".into(), "1 JPY".into()], details: Vec::new() },
        ];
        let shown = Grid { title: "Charges".into(), header: vec!["charge", "amount "], rows };
        let expected = "\
Charges
  charge     amount
  ch_1    12.50 USD
    one detail
  ch_22       1 JPY";
        assert_eq!(grid(&shown, 100), expected);
        assert!(grid(&shown, 12).lines().all(|line| line.chars().count() <= 12));
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\nc"), "a\u{fffd}[31mb\u{fffd}c");
    }
}
