//! Migrations are compiled in by a macro that sees a changed file, but not a new one.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
}
