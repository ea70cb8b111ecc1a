/// A planted bug: a mistake that somebody could make at the place where it stands, there to see whether scenarios and
/// checkers find it. Debug builds can switch one on (`rap-sim run --mutant NAME`), and builds with `RAP_MUTANTS`; release
/// builds carry none: there `planted` is the literal `false`, and the branch is gone.
///
/// A name in kebab case is the case's name. `MutantCatalogue` in the simulator has a sentence for each.
public enum Mutant: CaseIterable, Hashable, Sendable {
    // FabricTunnel
    case replayWindowForgetsNewest
    case replayWindowMovedByForgery
    case macUnchecked
    case keepaliveWithoutCounter
    case deadSessionsReceive
    case rekeyTimerOff
    case keepaliveNeverSent
    case innerSourceUnchecked
    case timestampUnchecked
    case cookieIgnored
    case cookieNeverAsked
    case handshakesNeverWait
    case keysNeverZeroed
    case roamingIgnored
    case endpointTakenUnauthenticated
    case stagedPacketsLost
    case responderNeverConfirms
    case paddingKept
    case paddingPastMTU
    case timestampFloorIgnored
    case firstDomainForAll
    case retransmissionOff
    case oldSessionDroppedAtRekey
    case crossingUnnoticed
    case probesCrowdOut

    // FabricNode and FabricMesh
    case keysUsedBeforeDurable
    case tunnelsBeforeFloor
    case floorNeverRaised
    case floorOvertaken
    case olderSnapshotAccepted
    case foreignSnapshotAccepted
    case admissionUnchecked
    case formerPeersKept
    case newKeyAfterLostAnswer
    case staleEndpointKept
    case olderRecordAccepted
    case renewalNeverDue
    case renewedCertificateUnused
    case timeFloorIgnored
    case snapshotNotPersisted
    case membershipNotPersisted
    case heartbeatStopsAtFailure
    case deadParkUnnoticed
    case pathUpForever
    case restWithoutEnd
    case retriesAtOnce

    // FabricControl
    case tokenCountedLate
    case replyDespiteFailedCommit
    case refusalBeforeRepeat
    case revokedTokenAccepted
    case expiredTokenAccepted
    case tokenScopeUnchecked
    case proofUnchecked
    case certificateBeforeApproval
    case certificateOutlivesIssuer
    case serialRepeated
    case previousSerialForgotten
    case neighboursNotMarked
    case snapshotsNotCoalesced
    case snapshotForWrongAudience
    case snapshotChainBroken
    case versionNotRaised
    case approvalNotAudited
    case auditChainBroken
    case rawTokenAudited
    case silenceUnnoticed
    case returnUnnoticed
    case refusalsAllAudited
    case reportsAllAudited
    case approvalWakesNobody
    case recordTouchesNobody
    case disabledNodeServed
    case historyUnbounded

    // FabricWire and FabricStoreSQLite
    case thresholdIgnored
    case payloadTypeUnsigned
    case overlayAddressesCollide
    case stateChecksumIgnored
    case controlPinIgnored
    case commitsUnsynced
}

#if DEBUG || RAP_MUTANTS
    /// Set once, before a run begins, by the simulator's program.
    @usableFromInline nonisolated(unsafe) internal var plantedMutant: Mutant?

    extension Mutant {
        /// Switches this bug on, and every other off, in this process.
        public static func plant(_ mutant: Mutant?) { plantedMutant = mutant }
    }

    /// Whether this bug is switched on.
    @inlinable @inline(__always)
    public func planted(_ mutant: Mutant) -> Bool { plantedMutant == mutant }
#else
    /// Whether this bug is switched on: never, in this build.
    @inlinable @inline(__always)
    public func planted(_ mutant: Mutant) -> Bool { false }
#endif
