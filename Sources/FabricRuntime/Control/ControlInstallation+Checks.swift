internal import FabricControl
internal import FabricCore
internal import FabricIdentity
internal import FabricStoreSQLite
internal import Glibc

/// What may be wrong with a control plane's state, told with the place and the mend.
extension ControlInstallation {
    func damaged(_ name: String, _ why: String) -> ControlInstallationError {
        ControlInstallationError(
            "\(path)/keys/\(name) is damaged, \(why): put it back from a backup. A new one would make another control plane, "
                + "which no node and no operator knows")
    }

    /// Throws when what a database here writes can't be written, before something half done finds out. A database elsewhere
    /// needs nothing of it: the keys are only read.
    func checkWritable() throws {
        var directories = [path + "/db"]
        if try vault.read(Self.databaseMark) == nil { directories.append(path + "/keys") }
        for directory in directories where access(directory, W_OK) != 0 && errno != ENOENT {
            let why =
                errno == EROFS
                ? "is on a file system that is mounted read-only: mount it writable"
                : "can't be written (\(String(cString: strerror(errno)))): make it writable for the user who runs this"
            throw ControlInstallationError("\(directory) \(why)")
        }
    }

    /// Throws when a key is not what it was. That two which are whole don't belong together, `makeIdentity` finds.
    func checkKeys() throws {
        let master = try vault.read(ControlIdentity.masterName) ?? []
        guard master.count == ControlIdentity.masterBytes else {
            throw damaged(
                ControlIdentity.masterName, "it has \(master.count) bytes, not \(ControlIdentity.masterBytes)")
        }
        do throws(CertificateError) {
            try X509Identity().verifyRoot(try vaultRoot())
        } catch {
            throw damaged(ControlIdentity.rootName, "\(error)")
        }
    }

    private func vaultRoot() throws(CertificateError) -> [UInt8] {
        do throws(KeyVaultError) {
            return try vault.read(ControlIdentity.rootName) ?? []
        } catch {
            throw .malformed(error.description)
        }
    }

    // MARK: The database

    var databaseFile: String { "\(path)/db/\(Self.databaseName)" }
    /// Says that there is a database, once it has been opened.
    private static let databaseMark = "has-database"

    /// Throws when the database that this control plane had is gone: an empty one would forget every cluster and node.
    func checkDatabase() throws {
        guard try vault.read(Self.databaseMark) != nil else { return }
        var facts = stat()
        guard stat(databaseFile, &facts) == 0, facts.st_size > 0 else {
            throw ControlInstallationError(
                "\(databaseFile) is missing or empty: put it back from a backup. To begin anew, make another state with "
                    + "“rap-control init”")
        }
    }

    func noteDatabase() throws {
        if try vault.read(Self.databaseMark) == nil { try vault.write(Self.databaseMark, [1]) }
    }

    /// What `body` does with the database; its errors come with the database's path and the mend.
    func withDatabase<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch StoreError.corrupt(let why) {
            throw ControlInstallationError(
                "\(databaseFile) is damaged, \(why): put \(path)/db back from a backup, the whole folder. It is as it was "
                    + "found; what can be read of a copy, “sqlite3 COPY .recover” prints")
        } catch let error as StoreError {
            throw ControlInstallationError("\(databaseFile) can't be used: \(error)")
        } catch let error as MigrationError {
            throw ControlInstallationError("\(databaseFile): \(error)")
        }
    }
}
