//! The consumer that docs/EVENTS.md shows, as a process.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use harness::system::System;

/// It runs until it is dropped, in the folder of the logs.
pub(crate) struct Consumer {
    child: Child,
    system: String,
    database: PathBuf,
    python: PathBuf,
}

impl Consumer {
    pub(crate) fn start(system: &System) -> Self {
        let document = fs::read_to_string("../docs/EVENTS.md").unwrap();
        let (_, rest) = document.split_once("```python\n").unwrap();
        let (program, _) = rest.split_once("```").unwrap();
        let python = system.stack.python.clone();
        let child = Command::new(&python)
            .args(["-c", program])
            .envs(system.env())
            .current_dir(&system.logs)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let database = system.logs.join("facts.db");
        Self { child, system: system.id.clone(), database, python }
    }

    /// What its table has.
    pub(crate) fn kept(&self) -> BTreeMap<String, (String, String)> {
        let dump = "import json, sqlite3, sys
facts = sqlite3.connect(sys.argv[1]).execute('select factid, time, id from fact')
print(json.dumps({fact: [time, id] for fact, time, id in facts}))";
        let output =
            Command::new(&self.python).args(["-c", dump]).arg(&self.database).output().unwrap();
        // Until it has made its table there is none.
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            eprintln!("the consumer of {} ended by itself: {status}", self.system);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
