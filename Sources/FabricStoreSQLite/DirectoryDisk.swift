internal import CFabricSQLite
public import FabricCore
internal import Glibc

/// The files of one directory, for this process alone.
///
/// The directory is made with mode 0700, files with 0600. A directory or file that belongs to somebody else, or that group
/// or others can reach, is refused. The directory is locked (flock) as long as the object lives, and every open file has
/// a lock that the `sqlite3` shell respects, so that nobody changes a database under its owner.
public final class DirectoryDisk: Disk {
    public static let maximumNameLength = 255

    private let directory: Descriptor

    /// Opens the directory at `path`, making it (its parent must exist) when there is none.
    public init(path: String) throws(DirectoryDiskError) {
        if mkdir(path, 0o700) != 0, errno != EEXIST { throw .failed(path: path, code: errno) }
        let raw = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
        guard raw >= 0 else { throw .failed(path: path, code: errno) }
        directory = Descriptor(raw)
        try DirectoryDisk.check(directory, path, expected: S_IFDIR, mend: "700")
        guard flock(raw, LOCK_EX | LOCK_NB) == 0 else { throw .inUse(path: path) }
        for name in try DirectoryDisk.names(path) {
            let file = openat(raw, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW)
            guard file >= 0 else { throw .failed(path: "\(path)/\(name)", code: errno) }
            let descriptor = Descriptor(file)
            try DirectoryDisk.check(descriptor, "\(path)/\(name)", expected: nil, mend: "600")
        }
    }

    /// Unlocked first: a child that is being started has the descriptor too, and with it the lock, until it execs.
    deinit { flock(directory.raw, LOCK_UN) }

    public func open(_ name: String) throws(DiskError) -> any DiskFile {
        try DirectoryDisk.check(name)
        let flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW
        var raw = openat(directory.raw, name, flags)
        if raw < 0, errno == ENOENT {
            raw = openat(directory.raw, name, flags | O_CREAT | O_EXCL, 0o600)
            guard raw >= 0 else { throw DiskError(code: errno) }
            let descriptor = Descriptor(raw)
            // A name is durable only when its directory is.
            guard fsync(directory.raw) == 0 else { throw DiskError(code: errno) }
            return try DirectoryFile(descriptor)
        }
        guard raw >= 0 else { throw DiskError(code: errno) }
        let descriptor = Descriptor(raw)
        var status = stat()
        guard fstat(raw, &status) == 0 else { throw DiskError(code: errno) }
        guard status.st_mode & S_IFMT == S_IFREG, status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
            throw .permission
        }
        return try DirectoryFile(descriptor)
    }

    public func delete(_ name: String) throws(DiskError) {
        try DirectoryDisk.check(name)
        guard unlinkat(directory.raw, name, 0) == 0 else { throw DiskError(code: errno) }
        guard fsync(directory.raw) == 0 else { throw DiskError(code: errno) }
    }

    public func exists(_ name: String) -> Bool {
        (try? DirectoryDisk.check(name)) != nil && faccessat(directory.raw, name, F_OK, 0) == 0
    }

    private static func check(_ name: String) throws(DiskError) {
        guard (1...maximumNameLength).contains(name.utf8.count), name != ".", name != "..",
            name.utf8.allSatisfy({ $0 != 0 && $0 != UInt8(ascii: "/") })
        else { throw .permission }
    }

    private static func check(
        _ descriptor: borrowing Descriptor, _ path: String, expected: mode_t?, mend: String
    ) throws(DirectoryDiskError) {
        var status = stat()
        guard fstat(descriptor.raw, &status) == 0 else { throw .failed(path: path, code: errno) }
        if let expected, status.st_mode & S_IFMT != expected { throw .failed(path: path, code: ENOTDIR) }
        guard status.st_uid == geteuid() else { throw .foreignOwner(path: path, owner: status.st_uid) }
        let mode = status.st_mode & 0o777
        guard mode & 0o077 == 0 else { throw .accessible(path: path, mode: String(mode, radix: 8), mend: mend) }
    }

    private static func names(_ path: String) throws(DirectoryDiskError) -> [String] {
        guard let stream = opendir(path) else { throw .failed(path: path, code: errno) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            // What stands deeper is not ours to open.
            if entry.pointee.d_type == UInt8(DT_REG) { names.append(name) }
        }
        return names.sorted()
    }
}

public enum DirectoryDiskError: Error, Hashable, Sendable, CustomStringConvertible {
    case failed(path: String, code: Int32)
    case inUse(path: String)
    case foreignOwner(path: String, owner: UInt32)
    case accessible(path: String, mode: String, mend: String)

    public var description: String {
        switch self {
        case .failed(let path, let code): "\(path): \(String(cString: strerror(code)))"
        case .inUse(let path): "\(path) is in use by another process; only one may have it open"
        case .foreignOwner(let path, let owner):
            "\(path) belongs to user \(owner); it must belong to the user who runs this"
        case .accessible(let path, let mode, let mend):
            "\(path) has mode \(mode), so that other users can reach it; run: chmod \(mend) \(path)"
        }
    }
}

/// A file of a `DirectoryDisk`. Closed with its last reference.
final class DirectoryFile: DiskFile {
    private let descriptor: Descriptor

    init(_ descriptor: consuming Descriptor) throws(DiskError) {
        let code = fabric_lock_file(descriptor.raw)
        guard code == 0 else { throw DiskError(code: code) }
        self.descriptor = descriptor
    }

    func read(_ buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(DiskError) -> Int {
        var done = 0
        while done < buffer.count {
            let count = pread(descriptor.raw, buffer.baseAddress! + done, buffer.count - done, Int(offset) + done)
            if count == 0 { break }
            if count < 0 {
                if errno == EINTR { continue }
                throw DiskError(code: errno)
            }
            done += count
        }
        return done
    }

    func write(_ buffer: UnsafeRawBufferPointer, at offset: Int64) throws(DiskError) {
        var done = 0
        while done < buffer.count {
            let count = pwrite(descriptor.raw, buffer.baseAddress! + done, buffer.count - done, Int(offset) + done)
            if count < 0 {
                if errno == EINTR { continue }
                throw DiskError(code: errno)
            }
            done += count
        }
    }

    func truncate(to size: Int64) throws(DiskError) {
        guard ftruncate(descriptor.raw, Int(size)) == 0 else { throw DiskError(code: errno) }
    }

    func sync() throws(DiskError) {
        guard fdatasync(descriptor.raw) == 0 else { throw DiskError(code: errno) }
    }

    func size() throws(DiskError) -> Int64 {
        var status = stat()
        guard fstat(descriptor.raw, &status) == 0 else { throw DiskError(code: errno) }
        return Int64(status.st_size)
    }
}

struct Descriptor: ~Copyable {
    let raw: CInt
    init(_ raw: CInt) { self.raw = raw }
    deinit { close(raw) }
}

extension DiskError {
    fileprivate init(code: CInt) {
        switch code {
        case ENOSPC, EDQUOT, EFBIG: self = .full
        case ENOENT: self = .notFound
        case EACCES, EPERM, EROFS, ELOOP: self = .permission
        default: self = .failed(code: code)
        }
    }
}
