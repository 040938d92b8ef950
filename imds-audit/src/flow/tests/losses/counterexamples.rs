//! Cases that random ones found, each named by its symptom.

use super::*;

#[test]
fn responses_had_before_requests_are_read_again_answer_those_that_were_passed_over() {
    let again = Round { early: vec![2], ..whole(1, 0) };
    let rounds = [
        Round { quarters: vec![2], ..whole(1, 0) },
        Round { quarters: vec![1, 4], ..whole(2, 1) },
        again,
    ];
    // The second half of the first request; the next two are passed over and counted.
    let is_lost: Vec<bool> = (0..10).map(|record| record == 1).collect();
    assert_eq!(pipeline(&rounds, &is_lost), (4, 2, 2));
}

#[test]
fn a_request_passed_over_for_its_short_first_segment_is_not_counted_again_by_its_response() {
    // A blank line's last byte, and the rest of the request after it.
    let is_lost: Vec<bool> = (0..22).map(|record| [9, 13].contains(&record)).collect();
    assert_eq!(converse(5, &[1, 5, 1, 42, 4, 43], &is_lost, &[false]), (4, 1));
}

#[test]
fn a_response_to_a_request_that_was_passed_over_is_not_taken_for_one_to_a_later_lost_request() {
    // Among them the first bytes of the fifth and of the ninth request.
    let is_lost: Vec<bool> = (0..13).map(|record| [6, 10].contains(&record)).collect();
    assert_eq!(converse(9, &[12, 23, 1], &is_lost, &[false]), (5, 4));
}

#[test]
fn an_early_response_is_not_taken_for_one_to_a_lost_request_that_was_sent_later() {
    let first = Round { quarters: vec![1, 3, 4], early: vec![1], again: Some(1), ..whole(2, 1) };
    let rounds = [first, Round { quarters: vec![1], ..whole(1, 0) }];
    // The rest of the first request, and the second one. Both are sent again.
    let is_lost: Vec<bool> = (0..9).map(|record| [1, 3].contains(&record)).collect();
    assert_eq!(pipeline(&rounds, &is_lost), (3, 2, 1));
}

#[test]
fn lost_requests_that_come_again_keep_their_places_among_the_responses() {
    let rounds = [
        Round { quarters: vec![3, 1], early: vec![1], again: Some(2), ..whole(3, 1) },
        Round { quarters: vec![2], again: Some(2), ..whole(1, 0) },
        Round { quarters: vec![1], early: vec![1], ..whole(2, 0) },
    ];
    // The second and the third request, which are sent again.
    let is_lost: Vec<bool> = (0..20).map(|record| [3, 4, 6, 7].contains(&record)).collect();
    assert_eq!(pipeline(&rounds, &is_lost), (6, 4, 2));
}

#[test]
fn a_lost_request_that_comes_again_is_accounted_for_once() {
    let rounds = [
        Round { quarters: vec![6], again: Some(2), ..whole(3, 1) },
        Round { early: vec![2], ..whole(1, 0) },
        Round { quarters: vec![2], early: vec![1], again: Some(1), ..whole(3, 0) },
    ];
    // The fourth request, the beginning of the fifth, and that of the last one twice.
    let is_lost: Vec<bool> = (0..21).map(|record| [6, 8, 14, 20].contains(&record)).collect();
    assert_eq!(pipeline(&rounds, &is_lost), (7, 4, 3));
}
