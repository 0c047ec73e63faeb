//! Migrations: again changes nothing, and a database that is newer is refused.

use harness::process::run;
use harness::stack::Stack;
use harness::system::System;

async fn schema(system: &System) -> Vec<(String, String, String)> {
    let columns = sqlx::query_as(
        "select table_schema || '.' || table_name, column_name, data_type
         from information_schema.columns where table_schema in ('pay', 'acc') order by 1, 2",
    );
    columns.fetch_all(&system.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn again_changes_nothing_and_newer_is_refused() {
    let stack = Stack::from_env().await.unwrap();
    let system = System::create(&stack, "migrate", 1).await.unwrap();
    let before = schema(&system).await;
    assert!(before.len() > 100, "the schema is there");
    system.command("reconciler", &["migrate"]).unwrap();
    assert_eq!(schema(&system).await, before);

    let uncommented: Vec<String> = sqlx::query_scalar(
        "select c.oid::regclass || '.' || a.attname
         from pg_class as c join pg_attribute as a on a.attrelid = c.oid
         where c.relnamespace in ('pay'::regnamespace, 'acc'::regnamespace)
           and c.relkind in ('r', 'p') and not c.relispartition and a.attnum > 0
           and col_description(c.oid, a.attnum) is null",
    )
    .fetch_all(&system.pool)
    .await
    .unwrap();
    assert_eq!(uncommented, Vec::<String>::new(), "every column has its comment");

    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (9000, 'from the future', true, '', 0)",
    )
    .execute(&system.pool)
    .await
    .unwrap();
    for arguments in [&["migrate"][..], &["run", "--roles", "project"]] {
        let output = run("reconciler", arguments, &system.env()).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        let last = said.lines().last().unwrap_or_default();
        assert!(last.contains("9000") && last.contains("newer"), "{said}");
    }
}
