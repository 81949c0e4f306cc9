//! `offtake config`: the effective configuration, its schema, or an example of it.

use std::path::Path;

use super::printing::{say_exact, say_json};
use crate::command_line::Config;
use crate::configuration::{SCHEMA, example};
use crate::context::load_configuration;
use crate::outcome::{Exit, Failure};

pub(super) fn execute(file: &Path, arguments: &Config) -> Result<Exit, Failure> {
    if arguments.schema {
        say_exact(SCHEMA.trim_end());
        return Ok(Exit::Done);
    }
    if arguments.example {
        say_exact(example().trim_end());
        return Ok(Exit::Done);
    }
    let masked = load_configuration(file)?.masked();
    let unprintable = |error: &dyn std::fmt::Display| {
        Failure::new(Exit::Failed, "cannot print the configuration").because(error.to_string())
    };
    if arguments.json {
        say_json(serde_json::to_string_pretty(&masked).map_err(|e| unprintable(&e))?);
    } else {
        say_exact(serde_yaml::to_string(&masked).map_err(|e| unprintable(&e))?.trim_end());
    }
    Ok(Exit::Done)
}
