//! Deleted jobs: nobody sees them any more, and what they have left is removed in pieces, so that no command takes
//! long.

use holdfast_tables::{Change, Reader, SqlError, params};

/// What one command removes at most, in rows of links; see [`Piece::weight`].
const SWEEP_ROWS: usize = 1_000;

/// A statement that removes rows of a job.
struct Piece {
    /// With the job, and how many.
    sql: &'static str,
    /// How much dearer a row is than that of a link: targets carry names, and those of large pages take many database
    /// pages.
    weight: usize,
}

const PIECES: [Piece; 5] = [
    Piece {
        sql: "DELETE FROM links_links WHERE id IN
            (SELECT id FROM links_links WHERE job = ?1 ORDER BY id LIMIT ?2)",
        weight: 1,
    },
    Piece {
        sql: "DELETE FROM links_targets WHERE id IN
            (SELECT id FROM links_targets WHERE job = ?1 ORDER BY key LIMIT ?2)",
        weight: 4,
    },
    Piece {
        sql: "DELETE FROM links_hosts WHERE job = ?1 AND host IN
            (SELECT host FROM links_hosts WHERE job = ?1 ORDER BY host LIMIT ?2)",
        weight: 1,
    },
    Piece {
        sql: "DELETE FROM links_calendars WHERE job = ?1 AND prefix IN
            (SELECT prefix FROM links_calendars WHERE job = ?1 ORDER BY prefix LIMIT ?2)",
        weight: 1,
    },
    Piece {
        sql: "DELETE FROM links_verdicts WHERE job = ?1 AND verdict IN
            (SELECT verdict FROM links_verdicts WHERE job = ?1 ORDER BY verdict LIMIT ?2)",
        weight: 1,
    },
];

/// Whether deleted jobs have left rows.
pub(crate) fn is_due(reader: Reader<'_>) -> Result<bool, SqlError> {
    reader.one("SELECT EXISTS (SELECT 1 FROM links_deleted)", [], |row| {
        row.get(0)
    })
}

/// Removes some of them; whether none are left.
pub(crate) fn sweep(change: &Change<'_>) -> Result<bool, SqlError> {
    let mut left = SWEEP_ROWS;
    loop {
        let job: Option<i64> = change.first(
            "SELECT job FROM links_deleted ORDER BY job LIMIT 1",
            [],
            |row| row.get(0),
        )?;
        let Some(job) = job else { return Ok(true) };
        for piece in &PIECES {
            let limit = left / piece.weight;
            let removed = change.execute(piece.sql, params![job, limit as i64])?;
            if removed == limit {
                return Ok(false);
            }
            left -= removed * piece.weight;
        }
        change.execute("DELETE FROM links_deleted WHERE job = ?1", [job])?;
        // So that many small ones are bounded, too.
        left -= 1;
        if left == 0 {
            return Ok(!is_due(**change)?);
        }
    }
}
