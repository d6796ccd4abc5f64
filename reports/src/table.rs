//! Plain text tables: columns aligned, numbers grouped, nothing drawn that the eye does not need.

use std::fmt;

/// Which way a column leans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table: a header, a rule and rows, two spaces between columns.
#[derive(Clone, Debug)]
pub struct Table {
    header: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(header: &[(&str, Align)]) -> Self {
        Table {
            header: header.iter().map(|(h, a)| (h.to_string(), *a)).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row, which must have as many cells as the header.
    pub fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.header.len(), "a cell for every column");
        self.rows.push(cells);
    }

    /// Whether no row was added.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn widths(&self) -> Vec<usize> {
        let cells = |i: usize| self.rows.iter().map(move |row| row[i].chars().count());
        self.header
            .iter()
            .enumerate()
            .map(|(i, (name, _))| cells(i).chain([name.chars().count()]).max().unwrap_or(0))
            .collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let line = |cells: &mut dyn Iterator<Item = &str>| {
            let padded: Vec<String> = cells
                .zip(&self.header)
                .zip(&widths)
                .map(|((cell, (_, align)), width)| match align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                })
                .collect();
            padded.join("  ").trim_end().to_string()
        };
        writeln!(
            f,
            "{}",
            line(&mut self.header.iter().map(|(name, _)| name.as_str()))
        )?;
        let rule = |((name, _), width): (&(String, Align), &usize)| {
            let stroke = if name.is_empty() { " " } else { "─" };
            stroke.repeat(*width)
        };
        let rules: Vec<String> = self.header.iter().zip(&widths).map(rule).collect();
        writeln!(f, "{}", rules.join("  ").trim_end())?;
        for row in &self.rows {
            writeln!(f, "{}", line(&mut row.iter().map(String::as_str)))?;
        }
        Ok(())
    }
}

/// An integer with its thousands apart: `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A large number in three significant digits: `951`, `12.3 k`, `9.12 M`, `1.20 G`.
pub fn short(n: f64) -> String {
    let (value, unit) = match n {
        n if n < 999.5 => return three_digits(n),
        n if n < 999.5e3 => (n / 1e3, "k"),
        n if n < 999.5e6 => (n / 1e6, "M"),
        n => (n / 1e9, "G"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A small number in three significant digits: `0.0123`, `1.23`, `12.3`, `123`.
pub fn three_digits(n: f64) -> String {
    match n {
        0.0 => "0".to_string(),
        n if n < 0.0995 => format!("{n:.4}"),
        n if n < 0.995 => format!("{n:.3}"),
        n if n < 9.995 => format!("{n:.2}"),
        n if n < 99.95 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}

/// Breaks `items` into lines of at most `width` characters that hang under `label`.
pub fn wrapped(label: &str, items: &[String], width: usize) -> String {
    let indent = label.chars().count() + 2;
    let mut out = format!("{label}  ");
    let mut column = indent;
    for (i, item) in items.iter().enumerate() {
        let last = i + 1 == items.len();
        let piece = if last {
            item.clone()
        } else {
            format!("{item}, ")
        };
        let length = piece.chars().count();
        if column > indent && column + piece.trim_end().chars().count() > width {
            out.truncate(out.trim_end().len());
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            column = indent;
        }
        out.push_str(&piece);
        column += length;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(short(12.34), "12.3");
        assert_eq!(short(999_499.0), "999 k");
        assert_eq!(short(999_500.0), "1.00 M");
        assert_eq!(short(9_123_456.0), "9.12 M");
        assert_eq!(three_digits(0.012_34), "0.0123");
        assert_eq!(three_digits(0.0), "0");
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(&[("name", Align::Left), ("n", Align::Right)]);
        table.row(vec!["a".into(), "1".into()]);
        table.row(vec!["longer".into(), "1,000".into()]);
        assert_eq!(
            table.to_string(),
            "name        n\n──────  ─────\na           1\nlonger  1,000\n"
        );
    }

    #[test]
    fn lists_wrap_and_hang() {
        let items: Vec<String> = ["kill 1", "pause 22", "partition 333"]
            .map(String::from)
            .into();
        assert_eq!(
            wrapped("faults", &items, 26),
            "faults  kill 1, pause 22,\n        partition 333\n"
        );
        assert_eq!(
            wrapped("faults", &items, 200),
            "faults  kill 1, pause 22, partition 333\n"
        );
    }
}
