// A team of threads that stay: work is shared out in chunks, and whoever is free takes the next one.
//
// Who waits spins for a moment, for the next piece comes in microseconds, and then sleeps, so that a busy neighbour gets
// the processor. One `run` is one parallel region: every thread runs the same function, and `each` inside it shares work.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace sepiola {

// Processors that this process may use: by its affinity and its control group's quota.
int processors();

class Team {
public:
    explicit Team(int threads);
    ~Team();
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    int size() const { return size_; }

    // Runs `work(thread)` on every thread, the caller's own among them, and returns when all are done.
    void run(const std::function<void(int)>& work);

    // Inside a region: calls `work(first, last)` for chunks of [0, count), and returns when all of them are done.
    template <class Work>
    void each(int thread, int count, int chunk, const Work& work) {
        Lane& lane = lanes_[thread];
        std::atomic<int>& next = counters_[lane.phase % COUNTERS].value;
        int chunks = (count + chunk - 1) / chunk;
        for (int at = thread; at < chunks; at = size_ + next.fetch_add(1, std::memory_order_relaxed))
            work(at * chunk, at * chunk + chunk < count ? at * chunk + chunk : count);
        barrier(lane);
    }

    // Inside a region: waits for all threads.
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
    };

    void barrier(Lane& lane);
    void start();
    void work(int thread, unsigned epoch);
    template <class Ready>
    void wait(const Ready& ready);
    void wake();

    int size_;
    std::vector<std::thread> threads_;
    std::vector<Lane> lanes_;
    int process_;
    Counter counters_[COUNTERS];
    Counter arrived_;
    alignas(64) std::atomic<unsigned> phase_{0};
    alignas(64) std::atomic<unsigned> epoch_{0};
    alignas(64) std::atomic<int> sleeping_{0};
    std::atomic<bool> ended_{false};
    const std::function<void(int)>* work_ = nullptr;

    // Apart, so that a forked process can leave behind what threads held that it has not.
    struct Bed {
        std::mutex turn, mutex;
        std::condition_variable condition;
    };
    std::unique_ptr<Bed> bed_;
};

}  // namespace sepiola
