//! The conformance list on every driver. The names begin with the driver's.

use keyward_tests::cases;
use keyward_tests::drivers::{Driver, Memory, Postgres, Rocks};
use keyward_tests::wait::soon;
use keyward_tests::{for_every_case, for_every_durable_case};

/// One test for each case, on an empty store.
macro_rules! on_a_store {
    ($driver:ty; $($room:ident::$case:ident,)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $case() {
            let driver = <$driver>::new();
            soon(cases::$room::$case(driver.open().await)).await;
        }
    )* };
}

/// One test for each case, on a driver whose store is not open.
macro_rules! on_a_driver {
    ($driver:ty; $($room:ident::$case:ident,)*) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $case() {
            soon(cases::$room::$case(<$driver>::new())).await;
        }
    )* };
}

mod memory {
    use super::*;

    for_every_case!(on_a_store, Memory);
}

mod rocksdb {
    use super::*;

    for_every_case!(on_a_store, Rocks);
    for_every_durable_case!(on_a_driver, Rocks);
}

mod postgres {
    use super::*;

    for_every_case!(on_a_store, Postgres);
    for_every_durable_case!(on_a_driver, Postgres);
}
