//! The committed files are what the code renders. `UPDATE_DOCS=1` writes them anew.
use std::collections::BTreeSet;
use std::{env, fs};

#[test]
fn the_committed_files_are_what_the_code_renders() {
    let directory = dashboards::directory();
    let files = dashboards::files();
    if env::var_os("UPDATE_DOCS").is_some() {
        for (name, text) in &files {
            fs::write(directory.join(name), text).unwrap();
        }
    }
    for (name, text) in &files {
        let found = fs::read_to_string(directory.join(name)).unwrap_or_default();
        let remedy = "UPDATE_DOCS=1 cargo test -p dashboards";
        assert!(&found == text, "{name} is not what the code renders: {remedy}");
    }
    let rendered: BTreeSet<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    for file in fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let is_made = path.extension().is_some_and(|it| it == "yml" || it == "json");
        let name = path.file_name().and_then(|name| name.to_str()).unwrap();
        assert!(!is_made || rendered.contains(name), "{name} is made by nothing; delete it");
    }
}
