public import FabricCore
internal import Glibc

/// Why a state directory can't be used. Each text says what is wrong and the mend.
public enum StateDirectoryError: Error, Hashable, Sendable, CustomStringConvertible {
    case missing(path: String)
    case notADirectory(path: String)
    case wrongOwner(path: String, owner: UInt32, wanted: UInt32)
    case openToOthers(path: String, mode: UInt32, isDirectory: Bool)
    /// Another process holds the directory.
    case inUse(path: String)
    case foreignEntry(path: String)
    case tooLarge(path: String, bytes: Int64, limit: Int64)
    case tooManyFiles(path: String, limit: Int)
    /// Its parent is missing.
    case noParent(path: String)
    case readOnlyFileSystem(path: String)
    case denied(path: String, user: UInt32)
    /// It is not there, and may not be made in its parent.
    case parentDenied(path: String, user: UInt32)
    case disk(path: String, DiskError)

    public var description: String {
        switch self {
        case .missing(let path): "\(path) does not exist: create it with mkdir -m 700 \(path)"
        case .notADirectory(let path): "\(path) is not a directory"
        case .wrongOwner(let path, let owner, let wanted):
            "\(path) belongs to user \(owner), not to \(wanted) who runs this: chown it, or run as its owner"
        case .openToOthers(let path, let mode, let isDirectory):
            "\(path) holds secrets and is open to others (mode \(String(mode, radix: 8))): "
                + "chmod \(isDirectory ? "700" : "600") \(path)"
        case .inUse(let path): "\(path) is in use by another process: stop that one first"
        case .foreignEntry(let path): "\(path) is not a plain file: remove it"
        case .tooLarge(let path, let bytes, let limit): "\(path) has \(bytes) bytes, more than the limit of \(limit)"
        case .tooManyFiles(let path, let limit): "\(path) holds more than \(limit) files"
        case .noParent(let path): "\(path) can't be made: its parent directory does not exist; make that first"
        case .readOnlyFileSystem(let path):
            "\(path) is on a read-only file system: mount it writable, or name a directory elsewhere"
        case .denied(let path, let user):
            "\(path): user \(user), who runs this, is not let in: give the directory to that user (chown), with search "
                + "permission (x) on those above it"
        case .parentDenied(let path, let user):
            "\(path) can't be made: user \(user), who runs this, may not write in \(Self.parent(of: path)): make it for that "
                + "user (install -d -m 700 -o \(user) \(path)), or name a directory elsewhere"
        case .disk(let path, let error): "\(path): \(error.words)"
        }
    }

    private static func parent(of path: String) -> String {
        let names = path.split(separator: "/").dropLast().joined(separator: "/")
        if path.hasPrefix("/") { return "/" + names }
        return names.isEmpty ? "." : names
    }

    /// Of making the directory: the last system call's.
    static func notMade(_ path: String) -> StateDirectoryError {
        switch errno {
        case ENOENT: .noParent(path: path)
        case EACCES, EPERM: .parentDenied(path: path, user: geteuid())
        default: failed(path)
        }
    }

    /// The last system call's failure, at `path`.
    static func failed(_ path: String) -> StateDirectoryError {
        switch errno {
        case EROFS: .readOnlyFileSystem(path: path)
        case EACCES, EPERM: .denied(path: path, user: geteuid())
        default: .disk(path: path, DiskError(errno: errno))
        }
    }
}

/// A directory of small durable files, owned by one process.
///
/// The directory is 0700, its files 0600, and both belong to the user who runs this; anything else is refused. A file
/// is replaced whole: written beside, synced, renamed over, and the directory synced, so that a crash leaves the old
/// contents or the new. Temporary files that a crash left are removed on opening.
public final class StateDirectory {
    /// Bytes of one file.
    public static let maximumFileBytes: Int64 = 16 << 20
    public static let maximumFiles = 4_096
    private static let temporaryPrefix = ".tmp-"

    public let path: String
    private let directory: OwnedDescriptor

    /// Opens the directory; makes it when `create` is set (its parent must exist).
    public init(path: String, create: Bool) throws(StateDirectoryError) {
        self.path = path
        if create, mkdir(path, 0o700) != 0, errno != EEXIST {
            throw .notMade(path)
        }
        let raw = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        guard raw >= 0 else {
            switch errno {
            case ENOENT: throw .missing(path: path)
            case ENOTDIR, ELOOP: throw .notADirectory(path: path)
            default: throw .failed(path)
            }
        }
        directory = OwnedDescriptor(raw)
        try StateDirectory.checkAccess(raw, path: path, isDirectory: true)
        guard flock(raw, LOCK_EX | LOCK_NB) == 0 else { throw .inUse(path: path) }
        for name in try list() where name.hasPrefix(StateDirectory.temporaryPrefix) { unlinkat(raw, name, 0) }
        for name in try names() { _ = try openForReading(name).map { close($0) } }
    }

    /// Unlocked first: a child that is being started has the descriptor too, and with it the lock, until it execs.
    deinit { flock(directory.raw, LOCK_UN) }

    /// The files' names, sorted.
    public func names() throws(StateDirectoryError) -> [String] {
        try list().filter { !$0.hasPrefix(".") }.sorted()
    }

    /// A file's contents; nil when there is no such file.
    public func read(_ name: String) throws(StateDirectoryError) -> [UInt8]? {
        precondition(StateDirectory.isName(name))
        guard let raw = try openForReading(name) else { return nil }
        let descriptor = OwnedDescriptor(raw)
        let file = path + "/" + name
        var status = stat()
        guard fstat(raw, &status) == 0 else { throw .disk(path: file, DiskError(errno: errno)) }
        let size = Int64(status.st_size)
        guard size <= StateDirectory.maximumFileBytes else {
            throw .tooLarge(path: file, bytes: size, limit: StateDirectory.maximumFileBytes)
        }
        var contents = [UInt8](repeating: 0, count: Int(size))
        var offset = 0
        while offset < contents.count {
            let count = contents.withUnsafeMutableBytes { bytes in
                Glibc.read(descriptor.raw, bytes.baseAddress! + offset, bytes.count - offset)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw .disk(path: file, DiskError(errno: errno))
            }
            if count == 0 { break }
            offset += count
        }
        return Array(contents[..<offset])
    }

    /// All files with their contents, by name.
    public func loadAll() throws(StateDirectoryError) -> [(name: String, contents: [UInt8])] {
        var files: [(name: String, contents: [UInt8])] = []
        for name in try names() {
            if let contents = try read(name) { files.append((name, contents)) }
        }
        return files
    }

    /// Replaces a file's contents. When this returns they are durable; when it throws, the old ones stand (or, when the
    /// last sync failed, either).
    public func write(_ name: String, _ contents: [UInt8]) throws(DiskError) {
        precondition(StateDirectory.isName(name))
        precondition(Int64(contents.count) <= StateDirectory.maximumFileBytes)
        let temporary = StateDirectory.temporaryPrefix + name
        do {
            try writeTemporary(temporary, contents)
        } catch {
            unlinkat(directory.raw, temporary, 0)
            throw error
        }
        guard renameat(directory.raw, temporary, directory.raw, name) == 0 else {
            let code = errno
            unlinkat(directory.raw, temporary, 0)
            throw DiskError(errno: code)
        }
        guard fsync(directory.raw) == 0 else { throw DiskError(errno: errno) }
    }

    /// Removes a file, durably. No such file is no error.
    public func delete(_ name: String) throws(DiskError) {
        precondition(StateDirectory.isName(name))
        guard unlinkat(directory.raw, name, 0) == 0 || errno == ENOENT else { throw DiskError(errno: errno) }
        guard fsync(directory.raw) == 0 else { throw DiskError(errno: errno) }
    }

    /// A name is 1 to 200 bytes of `A-Z a-z 0-9 . _ -` and does not begin with a dot.
    public static func isName(_ name: String) -> Bool {
        let bytes = name.utf8
        return (1...200).contains(bytes.count) && bytes.first != UInt8(ascii: ".")
            && bytes.allSatisfy {
                (97...122).contains($0) || (65...90).contains($0) || (48...57).contains($0)
                    || [45, 46, 95].contains($0)
            }
    }

    private func writeTemporary(_ temporary: String, _ contents: [UInt8]) throws(DiskError) {
        unlinkat(directory.raw, temporary, 0)
        let raw = openat(directory.raw, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard raw >= 0 else { throw DiskError(errno: errno) }
        let descriptor = OwnedDescriptor(raw)
        // Not left to the umask.
        guard fchmod(descriptor.raw, 0o600) == 0 else { throw DiskError(errno: errno) }
        var offset = 0
        while offset < contents.count {
            let count = contents.withUnsafeBytes { bytes in
                Glibc.write(descriptor.raw, bytes.baseAddress! + offset, bytes.count - offset)
            }
            if count < 0 {
                if errno == EINTR { continue }
                throw DiskError(errno: errno)
            }
            offset += count
        }
        guard fsync(descriptor.raw) == 0 else { throw DiskError(errno: errno) }
    }

    /// Opens a file after checking that it is one, and ours alone; nil when it does not exist.
    private func openForReading(_ name: String) throws(StateDirectoryError) -> Int32? {
        let file = path + "/" + name
        let raw = openat(directory.raw, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard raw >= 0 else {
            switch errno {
            case ENOENT: return nil
            case ELOOP, ENXIO: throw .foreignEntry(path: file)
            default: throw .failed(file)
            }
        }
        do {
            try StateDirectory.checkAccess(raw, path: file, isDirectory: false)
        } catch {
            close(raw)
            throw error
        }
        return raw
    }

    private static func checkAccess(_ raw: Int32, path: String, isDirectory: Bool) throws(StateDirectoryError) {
        var status = stat()
        guard fstat(raw, &status) == 0 else { throw .disk(path: path, DiskError(errno: errno)) }
        let kind = status.st_mode & S_IFMT
        guard kind == (isDirectory ? S_IFDIR : S_IFREG) else {
            throw isDirectory ? .notADirectory(path: path) : .foreignEntry(path: path)
        }
        guard status.st_uid == geteuid() else {
            throw .wrongOwner(path: path, owner: status.st_uid, wanted: geteuid())
        }
        let mode = status.st_mode & 0o777
        guard mode & 0o077 == 0 else { throw .openToOthers(path: path, mode: mode, isDirectory: isDirectory) }
    }

    private func list() throws(StateDirectoryError) -> [String] {
        // A descriptor of its own: closedir closes it, and the position is not shared.
        let raw = openat(directory.raw, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard raw >= 0, let stream = fdopendir(raw) else { throw .disk(path: path, DiskError(errno: errno)) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name == "." || name == ".." { continue }
            guard names.count < StateDirectory.maximumFiles else {
                throw .tooManyFiles(path: path, limit: StateDirectory.maximumFiles)
            }
            names.append(name)
        }
        return names
    }
}

extension DiskError {
    init(errno code: Int32) {
        switch code {
        case ENOSPC, EDQUOT, EFBIG: self = .full
        case ENOENT: self = .notFound
        case EACCES, EPERM, EROFS: self = .permission
        default: self = .failed(code: code)
        }
    }
}
