#include "threads.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sepiola {

namespace {

constexpr auto SPIN = std::chrono::microseconds(60);

inline void pause() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// The quota of a control group in processors, or 0 where there is none.
double quota() {
    double limit = 0, period = 0;
    if (FILE* file = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {
        if (std::fscanf(file, "%lf %lf", &limit, &period) != 2) limit = 0;
        std::fclose(file);
    } else {
        FILE* first = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r");
        FILE* second = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r");
        if (!first || !second || std::fscanf(first, "%lf", &limit) != 1 || std::fscanf(second, "%lf", &period) != 1)
            limit = 0;
        if (first) std::fclose(first);
        if (second) std::fclose(second);
    }
    return limit > 0 && period > 0 ? limit / period : 0;
}

}  // namespace

int processors() {
    int count = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) count = std::max(1, CPU_COUNT(&set));
#endif
    double allowed = quota();
    return allowed > 0 ? std::clamp(static_cast<int>(std::ceil(allowed)), 1, count) : count;
}

Team::Team(int threads) : size_(std::max(1, threads)), lanes_(std::max(1, threads)), process_(getpid()), bed_(new Bed) {}

Team::~Team() {
    ended_ = true;
    epoch_.fetch_add(1);
    if (process_ == getpid()) {
        wake();
        for (auto& thread : threads_) thread.join();
    } else {  // they are another process's: a fork took none of them along
        for (auto& thread : threads_) thread.detach();
        bed_.release();
    }
}

// In a forked process nothing runs any more, whatever it was that the other one did at that moment.
std::unique_lock<std::mutex> Team::turn() {
    if (process_ != getpid()) {
        process_ = getpid();
        for (auto& thread : threads_) thread.detach();
        threads_.clear();
        bed_.release();
        bed_.reset(new Bed);
        for (auto& lane : lanes_) lane.phase = 0;
        for (auto& counter : counters_) counter.value = 0;
        arrived_.value = 0;
        sleeping_ = 0;
        phase_ = 0;
    }
    return std::unique_lock<std::mutex>(bed_->turn);
}

void Team::start() {
    unsigned epoch = epoch_.load();
    while (static_cast<int>(threads_.size()) < size_ - 1) {
        int thread = static_cast<int>(threads_.size()) + 1;
        threads_.emplace_back([this, thread, epoch] { work(thread, epoch); });
    }
}

template <class Ready>
void Team::wait(const Ready& ready) {
    auto until = std::chrono::steady_clock::time_point::min();
    for (int spins = 1; !ready(); spins++) {
        pause();
        if (spins % 64) continue;
        auto now = std::chrono::steady_clock::now();
        if (until == std::chrono::steady_clock::time_point::min()) until = now + SPIN;
        if (now < until) continue;
        std::unique_lock<std::mutex> lock(bed_->mutex);
        sleeping_.fetch_add(1);
        bed_->condition.wait(lock, ready);
        sleeping_.fetch_sub(1);
        return;
    }
}

void Team::wake() {
    if (sleeping_.load() == 0) return;
    { std::lock_guard<std::mutex> lock(bed_->mutex); }
    bed_->condition.notify_all();
}

void Team::work(int thread, unsigned epoch) {
    for (;;) {
        wait([&] { return epoch_.load() != epoch; });
        epoch = epoch_.load();
        if (ended_) return;
        (*work_)(thread);
        barrier(lanes_[thread]);
    }
}

void Team::run(const std::function<void(int)>& work) {
    if (size_ > 1) {
        start();
        work_ = &work;
        epoch_.fetch_add(1);
        wake();
    }
    work(0);
    barrier(lanes_[0]);
}

void Team::barrier(Lane& lane) {
    unsigned phase = lane.phase++;
    if (size_ == 1) {
        counters_[phase % COUNTERS].value.store(0, std::memory_order_relaxed);
        return;
    }
    if (arrived_.value.fetch_add(1) == size_ - 1) {
        arrived_.value.store(0);
        counters_[(phase + 2) % COUNTERS].value.store(0);  // nobody is there yet, nor any more
        phase_.store(phase + 1);
        wake();
        return;
    }
    wait([&] { return phase_.load() != phase; });
}

}  // namespace sepiola
