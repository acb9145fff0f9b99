//! The conformance list: what every storage driver must do, written once.
//!
//! A case is an async function. Those of [`for_every_case`](crate::for_every_case) take an empty
//! store; those of [`for_every_durable_case`](crate::for_every_durable_case) take the driver, and
//! open and close its store themselves. A case never asks which driver it runs on. The sentences
//! that the cases prove stand in [`keyward_core::store`].
//!
//! To put a driver on the list, implement [`Driver`](crate::drivers::Driver) for it and add a module
//! to `tests/conformance.rs`. To add a case, write the function and put its name on a list below.

pub mod auditing;
pub mod cancellation;
pub mod changing;
pub mod closing;
pub mod create;
pub mod durability;
pub mod following;
pub mod importing;
pub mod isolation;
pub mod listing;
pub mod once;
pub mod paging;
pub mod revocation;
pub mod scale;
pub mod scanning;
pub mod sealing;
pub mod strictness;
pub mod uses;
pub mod values;
pub mod verification;

/// Calls the macro `$callback` with `$driver` and every case that any driver must pass.
#[macro_export]
macro_rules! for_every_case {
    ($callback:ident, $driver:ty) => {
        $callback! { $driver;
            auditing::every_change_writes_its_event,
            auditing::what_changes_nothing_writes_no_event,
            auditing::a_workspace_does_not_see_the_events_of_another,
            auditing::every_page_size_gives_the_same_events,
            auditing::sealed_events_are_a_chain_that_verifies,
            auditing::racing_sealers_make_one_chain,
            auditing::links_that_do_not_fit_are_refused_all_together,
            auditing::events_of_another_store_come_with_their_links,
            auditing::an_event_that_came_before_it_was_sealed_gets_its_link,
            auditing::a_sealed_store_takes_no_links_and_no_events,
            auditing::an_unsigned_event_is_in_no_chain,
            cancellation::a_cancelled_create_is_whole_or_absent,
            cancellation::a_cancelled_revocation_is_whole_or_absent,
            changing::every_field_that_changes_is_seen_on_every_way,
            changing::an_edit_that_changes_nothing_says_so,
            changing::a_revoked_record_is_not_edited_and_not_rotated,
            changing::a_rotation_is_one_step,
            changing::racing_rotations_of_one_record_have_one_winner,
            changing::a_rotation_to_a_taken_id_or_digest_changes_nothing,
            changing::a_workspace_does_not_change_the_record_of_another,
            changing::racing_edits_lose_nothing,
            changing::a_filter_lets_through_what_it_says,
            closing::a_closed_store_is_unavailable,
            closing::closing_twice_does_nothing,
            closing::an_open_store_is_ready,
            create::a_created_record_is_found_by_its_id_and_by_its_digest,
            create::what_was_never_created_is_not_there,
            create::an_answered_create_is_seen_at_once_while_others_write,
            create::a_taken_id_is_refused_and_changes_nothing,
            create::a_taken_digest_is_refused_and_changes_nothing,
            create::a_revoked_record_keeps_its_id_and_its_digest,
            create::racing_creates_of_one_digest_have_one_winner,
            create::racing_creates_of_one_id_have_one_winner,
            following::a_feed_is_there_or_not_and_stays_so,
            following::a_change_is_told_to_those_who_know_of_all_before_it,
            following::no_change_is_missed_however_they_overlap,
            following::a_mark_of_another_history_is_told_apart,
            following::the_newest_change_is_never_forgotten,
            following::a_window_grows_at_once_and_a_barrier_shrinks_when_it_is_finished,
            importing::imported_records_are_found_got_and_listed,
            importing::importing_again_changes_nothing,
            importing::a_key_revoked_at_the_source_becomes_revoked,
            importing::a_key_revoked_here_stays_revoked,
            importing::a_key_revoked_in_both_keeps_its_time_here,
            importing::a_different_key_under_a_taken_id_is_refused_with_all_beside_it,
            importing::a_digest_under_another_id_is_refused_with_all_beside_it,
            importing::nothing_to_import_changes_nothing,
            importing::five_thousand_records_are_imported_in_one_call,
            importing::racing_imports_of_the_same_records_add_each_once,
            importing::an_imported_key_is_accepted_and_an_imported_revoked_key_refused,
            isolation::a_workspace_does_not_get_the_record_of_another,
            isolation::a_workspace_does_not_list_the_records_of_another,
            isolation::a_workspace_does_not_revoke_the_record_of_another,
            isolation::a_digest_is_found_whatever_its_workspace,
            isolation::workspaces_with_neighbouring_ids_do_not_meet,
            listing::the_list_is_newest_first,
            listing::equal_times_are_listed_by_id,
            listing::an_empty_workspace_has_an_empty_list,
            listing::a_revoked_record_stays_in_its_place,
            listing::the_extremes_of_times_and_ids_are_listed_in_order,
            once::a_request_that_is_sent_again_makes_no_second_record,
            once::a_name_that_was_given_to_another_request_is_refused,
            once::racing_requests_of_one_name_make_one_record,
            once::a_request_is_forgotten_when_its_time_is_over,
            once::a_request_that_made_nothing_is_not_remembered,
            paging::every_page_size_gives_the_same_list,
            paging::a_limit_of_zero_gives_nothing,
            paging::a_list_that_ends_with_a_page_ends_there,
            paging::a_position_need_not_belong_to_a_record,
            paging::a_position_of_another_workspace_shows_nothing_of_it,
            paging::creating_between_two_pages_shifts_nothing,
            paging::revoking_between_two_pages_shifts_nothing,
            paging::nothing_is_missed_or_repeated_while_others_write,
            revocation::revoking_changes_the_status_and_the_time_and_nothing_else,
            revocation::revoking_twice_keeps_the_first_time,
            revocation::revoking_with_a_clock_set_back_keeps_the_time_of_creation,
            revocation::revoking_what_is_not_there_gives_nothing,
            revocation::racing_revocations_agree_on_one_time,
            revocation::an_answered_revocation_is_seen_at_once_while_others_write,
            revocation::a_revoked_record_stays_revoked,
            scale::a_hundred_thousand_records_are_listed_page_by_page,
            scanning::all_records_of_all_workspaces_are_scanned_by_id,
            scanning::every_page_size_gives_the_same_scan,
            scanning::a_limit_of_zero_scans_nothing,
            scanning::a_scan_that_ends_with_a_page_ends_there,
            scanning::a_scan_may_begin_behind_an_id_that_is_not_there,
            scanning::a_scan_misses_and_repeats_nothing_while_others_write,
            sealing::a_sealed_store_takes_no_change,
            sealing::a_sealed_store_is_read_as_before,
            sealing::an_unsealed_store_takes_changes_again,
            sealing::sealing_twice_and_unsealing_twice_do_nothing_more,
            sealing::revoking_what_is_not_there_gives_nothing_or_that_it_is_sealed,
            sealing::nothing_changes_after_sealing_was_answered,
            strictness::a_revocation_that_failed_after_its_write_is_honoured,
            strictness::a_revocation_that_failed_before_its_write_changed_nothing,
            strictness::a_fill_that_spans_a_revocation_is_not_remembered,
            strictness::a_fill_that_spans_a_failed_revocation_is_not_remembered,
            strictness::a_create_that_failed_after_its_write_harms_nobody,
            strictness::a_failing_store_neither_refuses_nor_accepts,
            strictness::lookups_beyond_the_bound_are_turned_away,
            strictness::a_lookup_that_nobody_waits_for_gives_its_place_back,
            uses::the_last_use_of_a_key_is_noted_and_told,
            uses::the_later_use_stays_whichever_comes_first,
            uses::racing_notes_keep_the_latest_of_each_key,
            uses::a_use_changes_no_record,
            uses::a_use_is_not_told_of_in_another_workspace,
            uses::a_use_of_what_is_not_there_harms_nothing,
            uses::last_uses_stand_in_the_order_of_the_keys,
            uses::thousands_of_uses_are_noted_and_told_at_once,
            uses::a_sealed_store_notes_uses,
            uses::a_closed_store_notes_no_uses,
            values::times_come_back_to_the_microsecond,
            values::every_character_of_unicode_comes_back_in_a_name,
            values::names_of_every_length_come_back,
            values::scopes_come_back_as_they_were_named,
            values::prefixes_come_back,
            values::ids_of_any_bytes_come_back,
            values::a_record_that_is_revoked_already_is_stored_as_it_is,
            verification::a_key_is_refused_from_its_expiry_on,
            verification::a_key_is_accepted_from_its_creation_on,
            verification::racing_fills_never_revive_a_revoked_key,
            verification::a_revoked_key_stays_refused_whatever_is_remembered,
            verification::racing_revokers_and_verifiers_agree,
        }
    };
}

/// Calls the macro `$callback` with `$driver` and every case that only a durable driver can pass.
#[macro_export]
macro_rules! for_every_durable_case {
    ($callback:ident, $driver:ty) => {
        $callback! { $driver;
            auditing::reopening_keeps_events_and_their_links,
            once::reopening_keeps_what_a_request_has_made,
            durability::reopening_keeps_everything,
            durability::reopening_keeps_what_is_taken,
            durability::a_revoked_record_stays_revoked_over_many_reopenings,
            durability::what_was_answered_before_closing_is_kept,
            durability::reopening_keeps_what_was_imported,
            durability::reopening_keeps_the_seal,
            uses::reopening_keeps_when_keys_were_used,
        }
    };
}
