use std::sync::mpsc::{Sender, channel};

use super::*;

type Worker = TimeoutWorker<u32, u32>;

/// A worker whose threads hang at every odd number until the test lets go, and panic at 666.
fn worker() -> (Worker, Arc<HungSet>, Sender<()>) {
    let hung = Arc::<HungSet>::default();
    let (let_go, held) = channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let worker = TimeoutWorker::new(Arc::clone(&hung), Arc::default(), move |current| {
        let held = Arc::clone(&held);
        Box::new(move |pid| {
            current.set(pid);
            if pid == 666 {
                // A panic without a message: printing one, with its backtrace, may take seconds.
                std::panic::resume_unwind(Box::new("a fault of the reader's"));
            }
            if pid % 2 == 1 {
                // Nothing is ever sent: this returns when the test drops its end.
                held.lock().unwrap_or_else(PoisonError::into_inner).recv().ok();
            }
            pid + 100
        })
    });
    (worker, hung, let_go)
}

fn at(owner: &str, name: &str) -> Place {
    Place { owner: owner.as_bytes().into(), name: name.as_bytes().into() }
}

/// Collects the answers of so many requests, as if so much time had passed.
fn collect(worker: &Worker, count: usize, later: Duration) -> Vec<(u64, Option<u32>)> {
    let mut answers = Vec::new();
    while answers.len() < count {
        answers.extend(worker.poll(Instant::now() + later));
        thread::yield_now();
    }
    answers.sort_unstable();
    answers
}

#[test]
fn answers_come_under_their_tickets() {
    let (worker, _, _let_go) = worker();
    for number in 0..100u32 {
        assert!(worker.submit(number.into(), &at("a", ""), 8, 2 * number));
    }
    let answers = collect(&worker, 100, Duration::ZERO);
    let expected: Vec<_> =
        (0..100u32).map(|number| (u64::from(number), Some(2 * number + 100))).collect();
    assert_eq!(answers, expected);
}

#[test]
fn a_place_that_hangs_costs_itself_only() {
    let (worker, hung, let_go) = worker();
    // More of one place than there may be threads.
    for ticket in 0..100 {
        worker.submit(ticket, &at("user", "trap"), 8, 7);
    }
    for ticket in 100..110 {
        assert!(worker.submit(ticket, &at("user", "/"), 8, 8));
    }
    // A stalled thread is no reason to wait: others are started, two of them for the trap.
    let others = collect(&worker, 10, STALL);
    assert_eq!(others, (100..110).map(|ticket| (ticket, Some(108))).collect::<Vec<_>>());
    assert!(hung.contains(7) && !hung.contains(8));
    assert!(worker.shared.lock().threads.len() <= 2 * MAX_PER_PLACE);
    // Their time is up: all of the trap's, those that wait for a thread included.
    let trapped = collect(&worker, 100, TIMEOUT);
    assert_eq!(trapped, (0..100).map(|ticket| (ticket, None)).collect::<Vec<_>>());
    // From then on that place is refused at once, and the other one served.
    assert!(!worker.submit(200, &at("user", "trap"), 8, 8));
    assert!(worker.submit(201, &at("user", "/"), 8, 8));
    assert_eq!(collect(&worker, 1, Duration::ZERO), [(201, Some(108))]);
    // Once the threads come back, the place is served again.
    drop(let_go);
    while hung.contains(7) {
        thread::yield_now();
    }
    while !worker.submit(202, &at("user", "trap"), 8, 8) {
        thread::yield_now();
    }
    assert_eq!(collect(&worker, 1, Duration::ZERO), [(202, Some(108))]);
}

#[test]
fn an_owner_of_many_places_that_hang_costs_himself_only() {
    let (worker, _, _let_go) = worker();
    for ticket in 0..100 {
        worker.submit(ticket, &at("user", &ticket.to_string()), 8, 7);
    }
    assert!(worker.submit(100, &at("other", "/"), 8, 8));
    assert_eq!(collect(&worker, 1, STALL), [(100, Some(108))]);
    assert!(worker.shared.lock().threads.len() <= MAX_PER_OWNER + 2);
    let trapped = collect(&worker, 100, TIMEOUT);
    assert!(trapped.iter().all(|(_, answer)| answer.is_none()));
    assert!(!worker.submit(101, &at("user", "/"), 8, 8));
    assert!(worker.submit(102, &at("other", "/"), 8, 8));
    assert_eq!(collect(&worker, 1, Duration::ZERO), [(102, Some(108))]);
}

#[test]
fn many_owners_of_places_that_hang_are_bounded() {
    let (worker, _, _let_go) = worker();
    let count = MAX_THREADS as u64 + 8;
    for ticket in 0..count {
        worker.submit(ticket, &at(&ticket.to_string(), ""), 8, 1);
    }
    let answers = collect(&worker, count as usize, MAX_WAIT);
    assert!(answers.iter().all(|(_, answer)| answer.is_none()));
    assert!(worker.shared.lock().threads.len() <= MAX_THREADS);
}

#[test]
fn a_panic_is_an_answer_and_no_thread_that_hangs() {
    let (worker, hung, _let_go) = worker();
    assert!(worker.submit(1, &at("a", ""), 8, 666));
    assert!(worker.submit(2, &at("a", ""), 8, 8));
    assert_eq!(collect(&worker, 2, Duration::ZERO), [(1, None), (2, Some(108))]);
    assert!(!hung.contains(666));
}

#[test]
fn a_place_fills_half_of_the_queue_at_most() {
    let (worker, _, _let_go) = worker();
    let mut count = 0;
    while worker.submit(count, &at("flood", ""), MAX_QUEUE / 16, 1) {
        count += 1;
    }
    // Two more were taken by threads, if these came to it already.
    assert!((8..=10).contains(&count), "{count}");
    assert!(worker.submit(count, &at("other", "/"), 8, 8));
}
