// A team of threads that stay: each has a part of the work, which it takes in chunks one after the other, so that what it
// reads ahead is its own; whoever is done takes the next chunks of the others.
//
// Who waits spins for a moment, for the next piece comes in microseconds, and then sleeps, so that a busy neighbour gets
// the processor. One `run` is one parallel region: every thread runs the same function, and `each` inside it shares work.
//
// Where threads lose much of a region to waiting for one that has no processor, fewer take part for a while: see `Pace`.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace sepiola {

// Processors that this process may use: by its affinity and its control group's quota.
int processors();

// How many threads take part. Where they waited for each other during more than half of the last regions, one
// thread fewer does; a while later all are tried again, and after each try that fails, later still.
class Pace {
public:
    using Clock = std::chrono::steady_clock;
    using Time = Clock::duration;

    explicit Pace(int threads) : threads_(threads), taking_part_(threads) {}

    int taking_part() const { return taking_part_; }
    // Before a region.
    void begin(Clock::time_point now);
    // After one that took so long, of which the thread that waited longest did nothing else for so long.
    void end(Clock::time_point now, Time took, Time waited);

private:
    void change(int threads, Clock::time_point now);

    int threads_, taking_part_;
    double took_ = 0, waited_ = 0;  // seconds of the last regions, the older the less
    Clock::time_point changed_{}, again_{};
    Time patience_ = std::chrono::milliseconds(50);
};

class Team {
public:
    explicit Team(int threads);
    ~Team();
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    int size() const { return size_; }

    // Runs `work(thread)` on every thread that takes part, the caller's own among them, and returns when all are done.
    void run(const std::function<void(int)>& work);

    // Inside a region: calls `work(first, last)` for chunks of [0, count), and returns when all of them are done.
    template <class Work>
    void each(int thread, int count, int chunk, const Work& work) {
        Lane& lane = lanes_[thread];
        Counter* counters = &counters_[lane.phase % COUNTERS * size_];
        for (int i = 0; i < lane.threads; i++) {
            int part = (thread + i) % lane.threads;
            int at = int(long(count) * part / lane.threads), end = int(long(count) * (part + 1) / lane.threads);
            std::atomic<int>& taken = counters[part].value;
            for (int done; (done = taken.fetch_add(chunk, std::memory_order_relaxed)) < end - at;)
                work(at + done, at + done + chunk < end ? at + done + chunk : end);
        }
        barrier(lane);
    }

    // Inside a region: waits for all threads of it.
    void barrier(int thread) { barrier(lanes_[thread]); }

    // Who holds it may run regions; a second thread of the program waits here for its turn.
    std::unique_lock<std::mutex> turn();

private:
    static constexpr int COUNTERS = 4;
    struct alignas(64) Counter {
        std::atomic<int> value{0};
    };
    struct alignas(64) Lane {
        unsigned phase = 0;
        int threads = 1;              // of the region
        std::atomic<long> waited{0};  // nanoseconds
    };
    // A region's number, and above it how many threads take part: one word, for those who do not look at nothing else.
    using Epoch = uint64_t;
    static int taking_part(Epoch epoch) { return int(epoch >> 32); }

    void barrier(Lane& lane);
    void start();
    void work(int thread, Epoch seen);
    void take_part(int thread, int threads);
    // Returns the nanoseconds that it took, if more than a moment.
    template <class Ready>
    long wait(const Ready& ready);
    void wake();
    void wake_parked();

    int size_;
    Pace pace_;
    std::vector<std::thread> threads_;
    std::vector<Lane> lanes_;
    int process_;
    std::vector<Counter> counters_;  // [phase][part]: how much of it is taken
    Counter arrived_;
    alignas(64) std::atomic<unsigned> phase_{0};
    alignas(64) std::atomic<Epoch> epoch_{0};
    alignas(64) std::atomic<int> sleeping_{0};
    std::atomic<bool> ended_{false};
    const std::function<void(int)>* work_ = nullptr;

    // Apart, so that a forked process can leave behind what threads held that it has not.
    struct Bed {
        std::mutex turn, mutex;
        std::condition_variable condition, parked;  // the latter for those who do not take part
    };
    std::unique_ptr<Bed> bed_;
};

}  // namespace sepiola
