//! Mappings as users write them: refused with a message that is enough to correct them, checked,
//! previewed.

mod capitals;
mod checked;
mod indexes;
mod mended;
mod previewed;
mod refused;
mod targets;
mod tenants;
mod undeclared;

use std::process::Output;

use offtake_tests::World;

/// A mapping of the sample application's teams.
const TEAMS: &str = "\
source:
  table: public.team
  tenant: tenancy_id
  key: { id: team_id }
query: |
  select t.tenancy_id as tenant_id, t.team_id as id, t.display_name
    from public.team t
target:
  table: teams
";

/// Replaces the file as a whole: a daemon that reads half of it would refuse it.
fn write(world: &World, name: &str, text: &str) {
    let file = world.mappings_folder().join(name);
    let beside = file.with_extension("new");
    std::fs::write(&beside, text)
        .and_then(|()| std::fs::rename(&beside, &file))
        .expect("the folder can be written");
}

/// Exit code, standard output, standard error; the folder's own path is left out.
fn told(world: &World, output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| {
        String::from_utf8_lossy(bytes).replace(&format!("{}/", world.folder().display()), "")
    };
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// What the first remedy of standard error says.
fn remedy(stderr: &str) -> &str {
    let line = stderr.lines().find_map(|line| line.split_once("remedy: "));
    line.unwrap_or_else(|| panic!("no remedy: {stderr}")).1
}
