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
constexpr double LOST = 0.5;  // of the time: then a thread that stands still costs more than doing without it
constexpr double ENOUGH = 0.015, REMEMBERED = 0.03;  // seconds
constexpr auto SOON = std::chrono::milliseconds(50), LATE = std::chrono::milliseconds(500);

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

void Pace::begin(Clock::time_point now) {
    if (taking_part_ < threads_ && now >= again_) change(threads_, now);
}

void Pace::end(Clock::time_point now, Time took, Time waited) {
    double seconds = std::chrono::duration<double>(took).count(), kept = REMEMBERED / (REMEMBERED + seconds);
    took_ = kept * took_ + seconds;
    waited_ = kept * waited_ + std::chrono::duration<double>(waited).count();
    if (taking_part_ == 1 || took_ < ENOUGH || waited_ < LOST * took_) return;
    patience_ = now - changed_ < LATE ? std::min<Time>(2 * patience_, LATE) : Time(SOON);
    again_ = now + patience_;
    change(taking_part_ - 1, now);
}

void Pace::change(int threads, Clock::time_point now) {
    taking_part_ = threads;
    changed_ = now;
    took_ = waited_ = 0;
}

Team::Team(int threads)
    : size_(std::max(1, threads)), pace_(size_), lanes_(size_), process_(getpid()), counters_(size_t(COUNTERS) * size_), bed_(new Bed) {}

Team::~Team() {
    ended_ = true;
    epoch_.fetch_add(1);
    if (process_ == getpid()) {
        wake();
        wake_parked();
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
        for (auto& counter : counters_) counter.value = 0;
        arrived_.value = 0;
        sleeping_ = 0;
        phase_ = 0;
        pace_ = Pace(size_);
    }
    return std::unique_lock<std::mutex>(bed_->turn);
}

void Team::start() {
    Epoch epoch = epoch_.load();
    while (static_cast<int>(threads_.size()) < size_ - 1) {
        int thread = static_cast<int>(threads_.size()) + 1;
        threads_.emplace_back([this, thread, epoch] { work(thread, epoch); });
    }
}

template <class Ready>
long Team::wait(const Ready& ready) {
    using Clock = std::chrono::steady_clock;
    Clock::time_point began{};
    auto lasted = [&] {
        return began == Clock::time_point{} ? 0L : long(std::chrono::nanoseconds(Clock::now() - began).count());
    };
    for (int spins = 1; !ready(); spins++) {
        pause();
        if (spins % 64) continue;
        auto now = Clock::now();
        if (began == Clock::time_point{}) began = now;
        if (now < began + SPIN) continue;
        std::unique_lock<std::mutex> lock(bed_->mutex);
        sleeping_.fetch_add(1);
        bed_->condition.wait(lock, ready);
        sleeping_.fetch_sub(1);
        break;
    }
    return lasted();
}

void Team::wake() {
    if (sleeping_.load() == 0) return;
    { std::lock_guard<std::mutex> lock(bed_->mutex); }
    bed_->condition.notify_all();
}

void Team::wake_parked() {
    { std::lock_guard<std::mutex> lock(bed_->mutex); }
    bed_->parked.notify_all();
}

void Team::work(int thread, Epoch seen) {
    for (;;) {
        wait([&] { return epoch_.load() != seen; });
        seen = epoch_.load();
        if (ended_) return;
        if (thread < taking_part(seen)) {
            take_part(thread, taking_part(seen));
            (*work_)(thread);
            barrier(lanes_[thread]);
        } else {
            std::unique_lock<std::mutex> lock(bed_->mutex);
            bed_->parked.wait(lock, [&] { return ended_ || thread < taking_part(epoch_.load()); });
        }
    }
}

// No phase of the region is over before all have begun.
void Team::take_part(int thread, int threads) {
    Lane& lane = lanes_[thread];
    lane.phase = phase_.load();
    lane.threads = threads;
    lane.waited.store(0, std::memory_order_relaxed);
}

void Team::run(const std::function<void(int)>& work) {
    auto began = Pace::Clock::now();
    int before = pace_.taking_part();
    pace_.begin(began);
    int threads = pace_.taking_part();
    if (threads > 1) start();
    work_ = &work;
    epoch_.store(Epoch(threads) << 32 | uint32_t(epoch_.load() + 1));
    wake();
    if (threads > before) wake_parked();
    take_part(0, threads);
    work(0);
    barrier(lanes_[0]);
    if (threads == 1) return;
    long waited = 0;
    for (int i = 0; i < threads; i++) waited = std::max(waited, lanes_[i].waited.load(std::memory_order_relaxed));
    auto now = Pace::Clock::now();
    pace_.end(now, now - began, std::chrono::nanoseconds(waited));
}

void Team::barrier(Lane& lane) {
    unsigned phase = lane.phase++;
    if (arrived_.value.fetch_add(1) == lane.threads - 1) {
        arrived_.value.store(0);
        for (int part = 0; part < size_; part++)  // nobody is there yet, nor any more
            counters_[(phase + 2) % COUNTERS * size_ + part].value.store(0, std::memory_order_relaxed);
        phase_.store(phase + 1);
        wake();
        return;
    }
    long waited = wait([&] { return phase_.load() != phase; });
    if (waited) lane.waited.fetch_add(waited, std::memory_order_relaxed);
}

}  // namespace sepiola
