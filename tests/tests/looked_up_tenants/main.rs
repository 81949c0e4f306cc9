//! Rows whose tenant is named by another row, when the rows on the way to it change at about the
//! same time: the tenant that had the row loses it.

mod one_step;
mod refused;
mod several_steps;
