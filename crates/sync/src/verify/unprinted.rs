//! Rows that a side cannot print: found among many, and left out.
//!
//! A row whose text is over a gigabyte, or for which the mapping's query fails, makes every
//! statement fail that prints it, and the error does not say which row it was. Its key can be read.
//! So the range is halved on that side until the row stands alone. The range ends with it, and is
//! compared without it.

use std::time::Duration;

use super::Error;
use super::ranges::Comparison;
use super::report::{SideName, Unprinted};
use super::side::Checksum;
use super::statement::{Key, Range};

/// How many rows of one comparison may fail before the fault is the mapping's or the destination's,
/// and not its rows'. Finding one takes about 30 statements.
pub const UNPRINTED_MAX: u64 = 100;

impl Comparison<'_> {
    /// The checksums of both sides. Where a side cannot print a row, the range is cut behind that
    /// row and goes without it.
    pub(super) async fn checksums(
        &mut self,
        range: &mut Range,
    ) -> Result<(Checksum, Checksum), Error> {
        loop {
            let both = async {
                tokio::try_join!(self.source.checksum(range), self.destination.checksum(range))
            };
            match both.await {
                Err(error) => match error.unprinted() {
                    Some(side) => self.leave_out(range, side, error).await?,
                    None => return Err(error),
                },
                read => return read,
            }
        }
    }

    /// Finds the first row of the range that the side cannot print, ends the range with it and
    /// leaves it out. `error`: why the range could not be read.
    async fn leave_out(
        &mut self,
        range: &mut Range,
        side: SideName,
        error: Error,
    ) -> Result<(), Error> {
        let (key, error) = self.first_unprinted(range, side, error).await?;
        if self.report.not_compared >= UNPRINTED_MAX {
            return Err(Error::TooManyUnprinted { max: UNPRINTED_MAX, error: Box::new(error) });
        }
        let told = self.key_object(&key);
        // A range whose later statements take too long is compared again.
        if !self.report.unprinted.iter().any(|row| row.key == told) {
            let error = error.postgres().map_or_else(|| error.to_string(), |error| error.message());
            self.report.not_compared += 1;
            self.report.unprinted.push(Unprinted { key: told, side, error });
        }
        range.without.push(key.clone());
        range.upto = Some(key);
        Ok(())
    }

    /// The key of the first such row, and why it cannot be printed. Fails with the latest error if
    /// no row alone is to blame: rows may have come and gone.
    async fn first_unprinted(
        &self,
        range: &Range,
        side: SideName,
        mut error: Error,
    ) -> Result<(Key, Error), Error> {
        // An error has aborted a transaction, and the other side may still be at work.
        self.renew(Duration::ZERO).await?;
        let mut within = range.clone();
        let mut rows = match side {
            SideName::Source => self.source.count(&within).await?,
            SideName::Destination => self.destination.count(&within).await?,
        };
        loop {
            let half = (rows / 2).max(1);
            let boundary = match side {
                SideName::Source => self.source.boundary(&within, half).await?,
                SideName::Destination => self.destination.boundary(&within, half).await?,
            };
            let Some(upto) = boundary else {
                return Err(error);
            };
            let tried = Range { upto: Some(upto.clone()), ..within.clone() };
            let read = match side {
                SideName::Source => self.source.checksum(&tried).await,
                SideName::Destination => self.destination.checksum(&tried).await,
            };
            // As in between ranges: no transaction is longer than a statement or two.
            self.renew(Duration::ZERO).await?;
            match read {
                Ok(_) if rows <= 1 => return Err(error),
                Ok(_) => {
                    within.after = Some(upto);
                    rows -= half;
                }
                Err(found) if found.unprinted().is_none() => return Err(found),
                Err(found) if half == 1 => return Ok((upto, found)),
                Err(found) => {
                    error = found;
                    within.upto = Some(upto);
                    rows = half;
                }
            }
        }
    }
}
