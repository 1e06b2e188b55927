//! `sqlx::migrate!` reads the folder at compile time; a file added to it must compile the crate anew.

fn main() {
    println!("cargo:rerun-if-changed=timescale/migrations");
}
