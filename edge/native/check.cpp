// Prints a checksum of what every instruction set of this processor computes: of products, and of a whole small model, by
// kind of weights. All lines of a kind, and those of another processor, must be equal: `c++ … check.cpp && ./check`.

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

#include "parts.hpp"

using namespace sepiola;

namespace {

struct Random {
    uint64_t state = 88172645463325252ull;
    float next() {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        return static_cast<float>(static_cast<int64_t>(state >> 40)) / (1 << 23) - 1.0f;
    }
    std::vector<float> many(size_t count, float scale = 1) {
        std::vector<float> result(count);
        for (float& x : result) x = scale * next();
        return result;
    }
};

uint64_t checksum(const std::vector<float>& numbers) {
    uint64_t hash = 1469598103934665603ull;
    const auto* bytes = reinterpret_cast<const unsigned char*>(numbers.data());
    for (size_t i = 0; i < numbers.size() * 4; i++) hash = (hash ^ bytes[i]) * 1099511628211ull;
    return hash;
}

uint64_t products(const Kernels& k, const char* kind) {
    Random random;
    constexpr int rows = 37, columns = 150, tokens = 17;
    Matrix m{kind_of(kind), rows, columns, nullptr};
    std::vector<float> weights = random.many(rows * columns);
    std::vector<uint8_t> packed(m.bytes());
    pack(m, weights.data(), packed.data(), 0, m.panels());
    m.data = packed.data();
    long stride = m.width();
    std::vector<float> values(tokens * stride), scales(tokens * stride / GROUP), out(tokens * m.panels() * ROWS);
    std::vector<int8_t> bytes(tokens * stride);
    std::vector<int32_t> sums(tokens * stride / GROUP);
    for (int t = 0; t < tokens; t++)
        for (int i = 0; i < columns; i++) values[t * stride + i] = random.next();
    Input input{values.data(), bytes.data(), scales.data(), sums.data(), stride};
    k.quantise_rows(input, 0, tokens);
    k.multiply(m, 0, m.panels(), input, 0, tokens, nullptr, out.data(), long(m.panels()) * ROWS, false);
    return checksum(out);
}

// An encoder-decoder of every choice that has kernels of its own.
struct Small {
    Random random;
    std::vector<std::vector<uint8_t>> memory;
    Tensors tensors;
    Spec spec;

    void matrix(const std::string& name, const char* kind, int rows, int columns) {
        Matrix m{kind_of(kind), rows, columns, nullptr};
        std::vector<float> weights = random.many(size_t(rows) * columns, 0.4f);
        memory.emplace_back(m.bytes());
        pack(m, weights.data(), memory.back().data(), 0, m.panels());
        tensors[name] = {memory.back().data(), m.bytes(), std::string("packed ") + kind, rows, columns};
    }
    void numbers(const std::string& name, size_t count, float scale) {
        std::vector<float> values = random.many(count, scale);
        memory.emplace_back(count * 4);
        std::memcpy(memory.back().data(), values.data(), count * 4);
        tensors[name] = {memory.back().data(), count * 4, "f32", 0, 0};
    }
    void stack(const std::string& name, const char* kind, const StackSpec& s) {
        int width = spec.width, each = s.heads * s.head_width, shared = s.kv_heads * s.head_width;
        numbers(name + ".norm.weight", width, 1);
        numbers(name + ".rotary", s.head_width / 2, 0.5f);
        numbers(name + ".relative", size_t(s.heads) * 17, 1);
        for (int i = 0; i < s.layers; i++) {
            std::string at = name + "." + std::to_string(i) + ".";
            for (const char* norm : {"attention_norm", "feed_forward_norm", "cross_norm"})
                if (s.cross || norm[0] != 'c') numbers(at + norm + ".weight", width, 1.5f);
            for (const char* norm : {"q_norm", "k_norm"})
                numbers(at + norm + ".weight", !s.joined ? s.head_width : norm[0] == 'q' ? each : shared, 1.5f);
            matrix(at + "qkv", kind, each + 2 * shared, width);
            numbers(at + "qkv.bias", each + 2 * shared, 0.3f);
            matrix(at + "out", kind, width, each);
            if (s.cross) {
                matrix(at + "cross_q", kind, each, width);
                matrix(at + "cross_kv", kind, 2 * shared, width);
                matrix(at + "cross_out", kind, width, each);
            }
            auto network = [&](const std::string& own, int inner) {
                matrix(own + "gate", kind, inner, width);
                matrix(own + "up", kind, inner, width);
                matrix(own + "down", kind, width, inner);
            };
            bool dense = std::find(s.dense.begin(), s.dense.end(), i) != s.dense.end();
            if (dense || !s.experts) {
                network(at, dense ? s.dense_inner : s.inner);
                continue;
            }
            matrix(at + "router", "f32", s.experts, width);
            for (int e = 0; e < s.experts; e++) network(at + "experts." + std::to_string(e) + ".", s.inner);
            if (!s.shared) continue;
            network(at + "shared.", s.shared);
            matrix(at + "shared.router", "f32", 1, width);
        }
    }
};

uint64_t model(const Kernels& k, const char* kind, Activation activation) {
    Small small;
    Spec& spec = small.spec;
    spec.width = 52, spec.vocabulary = 70, spec.head_scale = 0.5f;
    StackSpec s;
    s.width = spec.width;
    s.layers = 2, s.heads = 4, s.kv_heads = 2, s.head_width = 18, s.inner = 40;
    s.scale = 0.25f, s.eps = 1e-5f, s.gated = true, s.cross = true, s.activation = activation;
    s.windows = {0, 3};
    spec.decoder = s;
    s.cross = false, s.causal = false, s.centred = true, s.windows = {0, 0};
    spec.encoder = s;
    small.matrix("embedding", kind, spec.vocabulary, spec.width);
    small.stack("decoder", kind, spec.decoder);
    small.stack("encoder", kind, *spec.encoder);
    Model made(spec, small.tensors, 2, k.name);
    std::vector<int32_t> source = {5, 6, 7, 8, 9, 10, 20, 21}, rows = {0, 0, 0, 0, 0, 0, 1, 1}, next = {1, 2, 3, 4, 30, 31};
    std::vector<int32_t> next_rows = {0, 0, 0, 0, 1, 1};
    std::vector<float> memory(source.size() * spec.width), states(next.size() * spec.width);
    made.encode(int(source.size()), source.data(), nullptr, rows.data(), memory.data());
    Batch batch = made.begin_from(2, int(source.size()), memory.data(), rows.data());
    made.extend(batch, int(next.size()), next.data(), nullptr, next_rows.data(), states.data());
    std::vector<int32_t> one = {40, 41}, one_rows = {0, 1};
    made.extend(batch, 2, one.data(), nullptr, one_rows.data(), states.data());
    std::vector<float> logits(next.size() * spec.vocabulary);
    made.logits(int(next.size()), states.data(), 0, nullptr, logits.data());
    logits.insert(logits.end(), memory.begin(), memory.end());
    return checksum(logits);
}

std::shared_ptr<Settings> settings(std::initializer_list<std::pair<const char*, Settings::Value>> values) {
    auto made = std::make_shared<Settings>();
    for (const auto& [key, value] : values) made->set(key, value);
    return made;
}

constexpr int SEEN = 20;  // the width of features

// A vision encoder's features of two pictures.
uint64_t seeing(const Kernels& k, const char* kind, Small& small, int side, int patches) {
    Spec& spec = small.spec;
    spec.width = 36, spec.vocabulary = 20;
    StackSpec s;
    s.width = 36, s.layers = 1, s.heads = 2, s.kv_heads = 2, s.head_width = 10, s.inner = 30, s.scale = 0.3f, s.eps = 1e-5f;
    s.gated = true, s.windows = {0};
    spec.decoder = s;
    small.matrix("embedding", kind, spec.vocabulary, spec.width);
    small.stack("decoder", kind, s);
    Model made(spec, small.tensors, 2, k.name);
    std::vector<float> pixels = small.random.many(size_t(2) * 3 * side * side, 1), features(size_t(2) * patches * SEEN);
    made.features(2, side, side, pixels.data(), features.data());
    if (made.bridge()->tokens) {
        std::vector<float> vectors(size_t(2) * made.bridge()->tokens * 36);
        std::vector<int32_t> words = {3, 1, 4, 1, 5}, places = {0, 0, 0, 1, 1};
        made.vectors(2, patches, features.data(), int(words.size()), words.data(), places.data(), vectors.data());
        features.insert(features.end(), vectors.begin(), vectors.end());
    } else {
        std::vector<float> states = small.random.many(5 * 36, 1);
        std::vector<int32_t> rows = {0, 0, 0, 1, 1}, seen(2 * patches, 0);
        std::fill(seen.begin() + patches, seen.end(), 1);
        made.fuse(5, states.data(), rows.data(), 2 * patches, features.data(), seen.data(), states.data());
        features.insert(features.end(), states.begin(), states.end());
    }
    return checksum(features);
}

uint64_t vit(const Kernels& k, const char* kind) {
    Small small;
    auto stack = settings({{"layers", 2L}, {"heads", 2L}, {"kv_heads", 2L}, {"head_width", 10L}, {"inner", 30L},
                           {"causal", false}, {"cross", false}, {"gated", false}, {"scale", 0.3}, {"eps", 1e-5},
                           {"amplitude", 1.0}, {"local_amplitude", 1.0}, {"centred", true}, {"place", std::string("pre")},
                           {"activation", std::string("quick_gelu")}, {"windows", std::vector<long>{0, 0}}});
    small.spec.vision = settings({{"kind", std::string("vit")}, {"size", 27L}, {"patch", 6L}, {"width", long(SEEN)},
                                  {"class_token", true}, {"patch_features", true}, {"closes", true}, {"stack", stack}});
    small.spec.bridge = settings({{"kind", std::string("projection")}, {"layers", 2L}, {"patches", 16L},
                                  {"image_width", long(SEEN)}, {"shuffle", 2L}, {"neighbours", 1L},
                                  {"activation", std::string("gelu")}});
    small.spec.width = SEEN;
    small.stack("vision", kind, stack_spec(*stack, SEEN, 17));
    small.numbers("vision.positions", 17 * SEEN, 1), small.numbers("vision.class_token", SEEN, 1);
    small.matrix("vision.patch_embedding", kind, SEEN, 3 * 6 * 6);
    small.matrix("bridge.0", kind, 36, 4 * SEEN), small.matrix("bridge.1", kind, 36, 36);
    return seeing(k, kind, small, 27, 16);
}

uint64_t detr(const Kernels& k, const char* kind) {
    Small small;
    small.spec.vision = settings({{"kind", std::string("detr")}, {"width", long(SEEN)}, {"queries", 5L}, {"layers", 1L},
                                  {"heads", 2L}, {"inner", 30L}, {"encoder_layers", 1L}, {"encoder_heads", 4L},
                                  {"encoder_inner", 26L}, {"stem_width", 8L}, {"widths", std::vector<long>{8, 16}},
                                  {"depths", std::vector<long>{1, 1}}, {"bottleneck", true}});
    small.spec.bridge = settings({{"kind", std::string("gated-fusion")}, {"image_width", long(SEEN)}});
    small.matrix("vision.stem", kind, 8, 3 * 49), small.matrix("vision.project", kind, SEEN, 16);
    int from = 8;
    for (int to : {8, 16}) {
        std::string at = "vision.stage." + std::to_string(to / 16) + ".0.";
        small.matrix(at + "0", kind, to / 4, from), small.matrix(at + "1", kind, to / 4, to / 4 * 9);
        small.matrix(at + "2", kind, to, to / 4), small.matrix(at + "shortcut", kind, to, from);
        from = to;
    }
    small.numbers("vision.queries", 5 * SEEN, 1), small.numbers("vision.norm.weight", SEEN, 1);
    for (std::string at : {"vision.encoder.0.", "vision.decoder.0."}) {
        small.matrix(at + "qk", kind, 2 * SEEN, SEEN), small.matrix(at + "up", kind, at[7] == 'e' ? 26 : 30, SEEN);
        small.matrix(at + "down", kind, SEEN, at[7] == 'e' ? 26 : 30), small.numbers(at + "feed_forward_norm.weight", SEEN, 1);
        for (const char* part : {"v", "out", "cross_q", "cross_k", "cross_v", "cross_out"}) small.matrix(at + part, kind, SEEN, SEEN);
        for (const char* norm : {"norm.weight", "cross_norm.weight"}) small.numbers(at + norm, SEEN, 1);
    }
    small.matrix("bridge.image", kind, 36, SEEN), small.matrix("bridge.kv", kind, 72, 36);
    small.matrix("bridge.gate", kind, 36, 72);
    for (const char* part : {"bridge.q", "bridge.out"}) small.matrix(part, kind, 36, 36);
    return seeing(k, kind, small, 45, 5);
}

// Rows that look at one picture or two from between the layers.
uint64_t gated(const Kernels& k, const char* kind) {
    Small small;
    Spec& spec = small.spec;
    spec.width = 36, spec.vocabulary = 70;
    StackSpec& s = spec.decoder;
    s.width = 36, s.layers = 3, s.heads = 2, s.kv_heads = 2, s.head_width = 10, s.inner = 30, s.scale = 0.3f, s.eps = 1e-5f;
    s.gated = true, s.windows = {0, 0, 0};
    small.matrix("embedding", kind, spec.vocabulary, spec.width);
    small.stack("decoder", kind, s);
    auto resampler = settings({{"latents", 5L}, {"depth", 1L}, {"frames", 2L}, {"heads", 3L}, {"kv_heads", 1L},
                               {"head_width", 6L}, {"scale", 0.4}, {"inner", 28L}, {"gated", false},
                               {"activation", std::string("squared_relu")}});
    spec.bridge = settings({{"kind", std::string("gated-cross")}, {"image_width", long(SEEN)}, {"width", 24L},
                            {"context_width", 18L}, {"before", std::vector<long>{0, 2}}, {"token", 7L}, {"heads", 4L},
                            {"kv_heads", 2L}, {"head_width", 9L}, {"scale", 0.3}, {"inner", 44L},
                            {"activation", std::string("gelu")}, {"resampler", resampler}});
    small.numbers("bridge.latents", 5 * 24, 1), small.numbers("bridge.times", 2 * 24, 1);
    small.numbers("bridge.norm.weight", 24, 1);
    small.matrix("bridge.into", kind, 24, SEEN), small.matrix("bridge.context", kind, 18, 24);
    for (const char* norm : {"features_norm", "latents_norm", "feed_forward_norm"})
        small.numbers(std::string("bridge.resampler.0.") + norm + ".weight", 24, 1);
    small.matrix("bridge.resampler.0.q", kind, 18, 24), small.matrix("bridge.resampler.0.kv", kind, 12, 24);
    small.matrix("bridge.resampler.0.out", kind, 24, 18), small.matrix("bridge.resampler.0.up", kind, 28, 24);
    small.matrix("bridge.resampler.0.down", kind, 24, 28);
    for (std::string at : {"bridge.layers.0.", "bridge.layers.1."}) {
        small.numbers(at + "cross_norm.weight", 36, 1), small.numbers(at + "feed_forward_norm.weight", 36, 1);
        small.matrix(at + "cross_q", kind, 36, 36), small.matrix(at + "cross_kv", kind, 36, 18);
        small.matrix(at + "cross_out", kind, 36, 36), small.matrix(at + "up", kind, 44, 36);
        small.matrix(at + "down", kind, 36, 44);
    }
    Model made(spec, small.tensors, 2, k.name);
    std::vector<float> features = small.random.many(size_t(2) * 12 * SEEN, 1), states(9 * 36);
    Pictures pictures = made.look(2, 3, 12, features.data());
    std::vector<int32_t> tokens = {1, 7, 2, 7, 3, 7, 4, 5}, rows = {0, 0, 0, 0, 0, 1, 1, 1}, next = {8, 9, 7, 8, 9, 10, 7, 1, 2};
    std::vector<int32_t> next_rows = {0, 0, 0, 0, 0, 1, 1, 1, 1};
    Batch batch = made.read(2, 8, tokens.data(), nullptr, rows.data(), {pictures, {pictures[1]}});
    made.rewind(batch, {2, 0});
    made.extend(batch, 9, next.data(), nullptr, next_rows.data(), states.data());
    return checksum(states);
}

// A decoder whose rows read a prompt of more than a page, go on from it, and part.
std::vector<float> parting(Model& made) {
    int width = made.spec().width;
    std::vector<int32_t> prompts, places;
    for (int row = 0; row < 3; row++)
        for (int i = 0; i < 100 + row; i++) prompts.push_back(i < 90 ? i % 61 : (i + row) % 70), places.push_back(row);
    Batch batch = made.read(3, int(prompts.size()), prompts.data(), nullptr, places.data());
    made.select(batch, {0, 1, 1, 2, 2});
    made.rewind(batch, {0, 0, 3, 0, 40});
    std::vector<int32_t> next = {1, 2, 3, 4, 5}, rows = {0, 1, 2, 3, 4};
    std::vector<float> states(next.size() * width), logits(next.size() * made.spec().vocabulary);
    for (int step = 0; step < 3; step++)
        made.extend(batch, int(next.size()), next.data(), nullptr, rows.data(), states.data());
    made.logits(int(next.size()), states.data(), 0, nullptr, logits.data());
    return logits;
}

// The same by two threads of the program at once, who share what is held.
uint64_t chains(const Kernels& k, const char* kind, int experts) {
    Small small;
    Spec& spec = small.spec;
    spec.width = 52, spec.vocabulary = 70;
    StackSpec& s = spec.decoder;
    s.width = 52, s.layers = 2, s.heads = 6, s.kv_heads = 2, s.head_width = 18, s.inner = 40;
    s.scale = 0.25f, s.eps = 1e-5f, s.gated = true, s.activation = Activation::silu, s.windows = {0, 70};
    s.experts = experts, s.chosen = experts / 2;
    if (experts) s.renormalise = false, s.shared = 70, s.dense = {1}, s.dense_inner = 24, s.joined = true;
    small.matrix("embedding", kind, spec.vocabulary, spec.width);
    small.stack("decoder", kind, s);
    Model made(spec, small.tensors, 2, k.name);
    std::vector<float> mine, theirs;
    std::thread other([&] { theirs = parting(made); });
    mine = parting(made);
    other.join();
    return mine == theirs ? checksum(mine) : 0;
}

// A team whose threads wait for one that comes late does without it, tries it again, and leaves out no piece of work.
bool waiting() {
    Team team(3);
    bool fewer = false, whole = true;
    for (int region = 0; region < 200; region++) {
        std::atomic<int> threads{0}, pieces{0};
        team.run([&](int thread) {
            threads++;
            if (thread != 1) std::this_thread::sleep_for(std::chrono::milliseconds(1));
            for (int i = 0; i < 5; i++)
                team.each(thread, 100, 3, [&](int first, int last) { pieces += last - first; });
        });
        fewer |= threads < 3;
        whole &= pieces == 500;
    }
    return fewer && whole;
}

}  // namespace

int main() {
    const char* names[] = {"relu", "gelu", "gelu_tanh", "quick_gelu", "silu", "squared_relu"};
    for (const Kernels* k : all_kernels())
        for (const char* kind : {"f32", "bf16", "int8", "int4"}) {
            std::printf("%s %s products %016llx\n", k->name, kind, static_cast<unsigned long long>(products(*k, kind)));
            std::printf("%s %s vit %016llx\n", k->name, kind, static_cast<unsigned long long>(vit(*k, kind)));
            std::printf("%s %s detr %016llx\n", k->name, kind, static_cast<unsigned long long>(detr(*k, kind)));
            std::printf("%s %s gated %016llx\n", k->name, kind, static_cast<unsigned long long>(gated(*k, kind)));
            std::printf("%s %s chains %016llx\n", k->name, kind, static_cast<unsigned long long>(chains(*k, kind, 0)));
            std::printf("%s %s experts %016llx\n", k->name, kind, static_cast<unsigned long long>(chains(*k, kind, 5)));
            for (int i = 0; i < 6; i++)
                std::printf("%s %s %s %016llx\n", k->name, kind, names[i],
                            static_cast<unsigned long long>(model(*k, kind, static_cast<Activation>(i + 1))));
        }
    return waiting() ? 0 : 1;
}
