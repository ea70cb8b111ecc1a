internal import FabricCommand
internal import Foundation
internal import Simulator

/// The files of a swarm in its corpus directory; both are appended to, and a killed program loses little.
///
/// `NAME.lock` keeps a second swarm away for as long as this program runs. Nothing is written before all that is there was
/// read and found right.
final class SwarmStore {
    private let lockFile: Int32
    private let corpusFile: Int32
    private let progressFile: Int32
    private let progressPath: String
    private var progressBytes: Int
    private let program: String
    /// Seeds of the corpus from earlier swarms, each once.
    let corpus: [UInt64]
    /// The programs that kept them last.
    private var keptBy: [UInt64: String]
    var corpusCount: Int { keptBy.count }
    /// What an interrupted swarm of this program had done.
    let results: [SwarmResult]
    /// Seeds that failed under another build, when a swarm of that one was to be taken up.
    let failedElsewhere: [UInt64]
    let isOfAnotherProgram: Bool
    private var lastSync = ChildPool.seconds

    init(directory: String, identity: SwarmIdentity, resuming: Bool) throws {
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        } catch {
            throw SearchFailure(description: "\(directory) can't be made; name another --corpus")
        }
        program = identity.program
        lockFile = try Self.lock("\(directory)/\(identity.scenario).lock")
        let corpusPath = "\(directory)/\(identity.scenario).corpus"
        progressPath = "\(directory)/\(identity.scenario).progress"
        let entries =
            try Self.read(corpusPath) { bytes throws(SwarmFileError) in
                try SwarmFiles.corpus(bytes, scenario: identity.scenario)
            } ?? []
        let former =
            resuming
            ? try Self.read(progressPath) { bytes throws(SwarmFileError) in
                try SwarmFiles.progress(bytes, of: identity)
            } : nil
        var seeds: [UInt64] = []
        var kept: [UInt64: String] = [:]
        for entry in entries where kept.updateValue(entry.program ?? "", forKey: entry.seed) == nil {
            seeds.append(entry.seed)
        }
        corpus = seeds
        keptBy = kept
        isOfAnotherProgram = former?.isOfAnotherProgram ?? false
        results = isOfAnotherProgram ? [] : former?.settled ?? []
        failedElsewhere =
            isOfAnotherProgram ? former?.results.filter { $0.outcome != .held }.map(\.seed) ?? [] : []
        if !FileManager.default.fileExists(atPath: corpusPath) || entries.isEmpty {
            try Self.replace(corpusPath, SwarmFiles.corpusHeader(scenario: identity.scenario))
        }
        // What is run again gets a line anew, so that there is one for each seed.
        if results.isEmpty || results.count != former?.results.count {
            try Self.replace(progressPath, SwarmFiles.header(identity) + results.map { SwarmFiles.line($0) }.joined())
        }
        corpusFile = try Self.open(corpusPath)
        progressFile = try Self.open(progressPath)
        progressBytes = Int(lseek(progressFile, 0, SEEK_END))
    }

    deinit {
        close(corpusFile)
        close(progressFile)
        close(lockFile)
    }

    func add(_ result: SwarmResult, new: [String]) throws {
        // What is known of nothing is to be run again.
        if result.outcome == .noResult { return }
        let line = SwarmFiles.line(result)
        progressBytes += line.utf8.count
        guard progressBytes <= SwarmFiles.maximumBytes else {
            throw SearchFailure(
                description: "\(progressPath) is full: it has \(SwarmFiles.maximumBytes >> 20) MiB; take fewer seeds",
                status: 4)
        }
        try Self.append(progressFile, line)
        let isKnown = keptBy[result.seed] != nil
        if !new.isEmpty, isKnown || corpusCount < SwarmFiles.maximumCorpus, keptBy[result.seed] != program {
            try Self.append(corpusFile, SwarmFiles.corpusLine(seed: result.seed, adds: new, program: program))
            keptBy[result.seed] = program
        }
        if result.outcome != .held || ChildPool.seconds - lastSync > 1 { sync() }
    }

    func sync() {
        fsync(progressFile)
        fsync(corpusFile)
        lastSync = ChildPool.seconds
    }

    /// Nil when there is no such file, or an empty one.
    private static func read<T>(_ path: String, _ parse: ([UInt8]) throws(SwarmFileError) -> T) throws -> T? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        let bytes = try InputFile.read(path, limit: SwarmFiles.maximumBytes)
        if bytes.isEmpty { return nil }
        guard bytes.count <= SwarmFiles.maximumBytes else {
            throw SearchFailure(
                description: "\(path) has more than \(SwarmFiles.maximumBytes >> 20) MiB; move it away")
        }
        do {
            return try parse(bytes)
        } catch {
            throw SearchFailure(description: "\(path): \(error)")
        }
    }

    /// For as long as this program runs; a killed one holds nothing.
    private static func lock(_ path: String) throws -> Int32 {
        let file = Foundation.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw SearchFailure(description: "\(Unwritable(path, errno))") }
        guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
            let isHeld = errno == EWOULDBLOCK
            let problem = isHeld ? "another swarm works on this corpus" : String(cString: strerror(errno))
            close(file)
            throw SearchFailure(description: "\(path): \(problem); wait for its end, or name another --corpus")
        }
        return file
    }

    /// The file with this text alone; what was there stays until that is whole.
    private static func replace(_ path: String, _ text: String) throws {
        let new = "\(path).new"
        let file = Foundation.open(new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw SearchFailure(description: "\(Unwritable(path, errno))") }
        defer { close(file) }
        try append(file, text)
        guard fsync(file) == 0, rename(new, path) == 0 else {
            throw SearchFailure(description: "\(Unwritable(path, errno))", status: 4)
        }
    }

    private static func open(_ path: String) throws -> Int32 {
        let file = Foundation.open(path, O_RDWR | O_CLOEXEC)
        guard file >= 0 else { throw SearchFailure(description: "\(Unwritable(path, errno))") }
        // A killed program may have left half a line; what comes next must begin a new one.
        var size = lseek(file, 0, SEEK_END)
        var byte: UInt8 = 0x0A
        while size > 0, pread(file, &byte, 1, size - 1) == 1, byte != 0x0A { size -= 1 }
        ftruncate(file, size)
        lseek(file, size, SEEK_SET)
        return file
    }

    private static func append(_ file: Int32, _ text: String) throws {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
            guard count > 0 else {
                throw SearchFailure(
                    description: "the swarm's files can't be written: \(String(cString: strerror(errno))); "
                        + "make room, and go on with --resume", status: 4)
            }
            bytes = bytes.dropFirst(count)
        }
    }
}
